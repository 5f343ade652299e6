"""``train_clip.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vg_gym.cli.run import configured
from vg_gym.clip.finetuning.clip_learner import train_clip
from vg_gym.clip.finetuning.config import ClipTrainConfig


def main(arguments: Sequence[str] | None = None) -> None:
    """Fine-tune a CLIP, or train the small built-in one.

    Args:
        arguments: YAML files and ``key=value`` of :class:`ClipTrainConfig`; by default those of the command line.
    """
    config = configured(ClipTrainConfig, sys.argv[1:] if arguments is None else arguments)
    print(f"CLIP in {train_clip(config)}")
