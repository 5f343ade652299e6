"""Fine-tune a CLIP on box-text pairs, or train the small built-in one.

python train_clip.py configs/clip_refshapes.yaml
python train_clip.py clip=ViT-B-32:openai dataset=refcocog-umd root=DIR train_image_blocks=4 out=runs/clip-b32
"""

import sys

from vg_gym.cli.run import run
from vg_gym.clip_finetuning.clip_learner import train_clip
from vg_gym.clip_finetuning.config import ClipTrainConfig
from vg_gym.config import load_config


def main() -> None:
    """Train; see :class:`vg_gym.clip_finetuning.config.ClipTrainConfig` for every option."""
    print(f"CLIP in {train_clip(load_config(ClipTrainConfig, sys.argv[1:]))}")


if __name__ == "__main__":
    run(main)
