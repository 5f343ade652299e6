"""Train an agent that grounds referring expressions, then compare it with the floors.

python train_agent.py
python train_agent.py reward=clip seed=1
python train_agent.py dataset=refcocog-umd root=DIR clip=ViT-B-32:openai
python train_agent.py features=FEATURES num_envs=1024     # made by: vg-gym features
python train_agent.py configs/agent_refshapes.yaml out=runs/best
"""

import sys

from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.config import TrainConfig
from vg_gym.cli.run import run
from vg_gym.config import load_config
from vg_gym.evaluation.comparison import Comparison


def main() -> None:
    """Train; see :class:`vg_gym.agents.config.TrainConfig` for every option."""
    config = load_config(TrainConfig, sys.argv[1:])
    trainer = AgentTrainer(config)
    config = trainer.config
    trainer.run()
    if config.test_samples:
        Comparison(
            methods=[f"agent:{trainer.out}", "action-oracle"],
            out=str(trainer.out / "test"),
            dataset=config.dataset,
            split=config.test_split,
            root=config.root,
            train_split=config.train_split,
            clip=config.clip,
            limit=config.test_samples,
            fresh=True,
            options={"action-oracle": {"action": config.action, "max_steps": config.max_steps}},
            command="python train_agent.py " + " ".join(sys.argv[1:]),
        ).run()
    print(f"run: {trainer.out}   pictures: {trainer.out}/trajectories.png   curves: tensorboard --logdir runs")


if __name__ == "__main__":
    run(main)
