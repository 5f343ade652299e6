"""Train a grounder: MDETR, TransVG, Dynamic MDETR, with or without RED; box diffusion.

python train_grounder.py configs/mdetr_refshapes.yaml
python train_grounder.py configs/mdetr_refshapes.yaml resume=true
accelerate launch train_grounder.py configs/transvg_refcocog.yaml root=DIR
"""

import sys

from vg_gym.cli.run import run
from vg_gym.config import load_config
from vg_gym.learned.grounder_learner import GrounderConfig, train_grounder


def main() -> None:
    """Train; see :class:`vg_gym.learned.grounder_learner.GrounderConfig` for every option."""
    print(f"grounder in {train_grounder(load_config(GrounderConfig, sys.argv[1:]))}")


if __name__ == "__main__":
    run(main)
