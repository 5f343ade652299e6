"""Train an agent that grounds referring expressions, then compare it with the baselines.

python train_agent.py
python train_agent.py reward=clip seed=1
python train_agent.py dataset=refcocog-umd root=DIR clip=ViT-B-32:openai
python train_agent.py features=FEATURES num_envs=1024     # made by: vg-gym features
python train_agent.py configs/agent_refshapes.yaml out=runs/best
"""

from vg_gym.cli.run import run
from vg_gym.cli.train import main

if __name__ == "__main__":
    run(lambda: main("agent"))
