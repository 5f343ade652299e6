"""Fine-tune a CLIP on box-text pairs, or train the small built-in one.

python train_clip.py configs/clip_refshapes.yaml
python train_clip.py clip=ViT-B-32:openai dataset=refcocog-umd root=DIR train_image_blocks=4 out=runs/clip-b32
"""

import sys

from vg_gym.cli.run import run
from vg_gym.clip_finetuning.clip_learner import ClipTrainConfig, ClipTrainer
from vg_gym.config import load_config


def main() -> None:
    """Train; see :class:`vg_gym.clip_finetuning.clip_learner.ClipTrainConfig` for every option."""
    ClipTrainer(load_config(ClipTrainConfig, sys.argv[1:])).run()


if __name__ == "__main__":
    run(main)
