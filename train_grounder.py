"""Train a grounder: MDETR, TransVG, Dynamic MDETR, with or without RED; box diffusion.

python train_grounder.py configs/mdetr_refshapes.yaml
python train_grounder.py configs/mdetr_refshapes.yaml resume=true
accelerate launch train_grounder.py configs/transvg_refcocog.yaml root=DIR
"""

from vg_gym.cli.run import run
from vg_gym.cli.train import main

if __name__ == "__main__":
    run(lambda: main("grounder"))
