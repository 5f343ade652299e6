"""Training of a CLIP by what it learns from: boxes of expressions, or captions."""

from __future__ import annotations

from pathlib import Path

from vg_gym.clip.finetuning.caption_learner import CaptionLearner
from vg_gym.clip.finetuning.clip_learner import ClipLearner
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.errors import unknown
from vg_gym.fitting.train import train

LEARNERS = {"boxes": ClipLearner, "captions": CaptionLearner}
"""Value of ``learn_from`` -> learner."""


def train_clip(config: ClipTrainConfig) -> Path:
    """Train a CLIP, write it to ``OUT/model`` for ``clip=``, and return that folder.

    Raises:
        VGGymError: ``learn_from`` is unknown, or see :func:`vg_gym.fitting.train.train`.
    """
    if config.learn_from not in LEARNERS:
        raise unknown("learn_from", config.learn_from, LEARNERS)
    return train(LEARNERS[config.learn_from], config.completed())
