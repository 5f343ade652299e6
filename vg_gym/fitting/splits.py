"""Data sets of a training: its training and validation splits, and their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.registry import DATASET_KINDS, dataset_spec, open_dataset
from vg_gym.storage.files import fingerprint
from vg_gym.types import GroundingDataset, MayLack

MAX_HASHED_SAMPLES = 20_000
"""Maximum number of evenly spaced samples of a split in its hash."""

DRAWN_SAMPLES = 32
"""Number of samples of RefScenes in a split's hash."""


def open_splits(config: DatasetFitConfig, needs_boxes: bool = True) -> tuple[GroundingDataset, GroundingDataset]:
    """Open the training split and the validation split.

    Args:
        config: options.
        needs_boxes: whether samples without boxes are an error.

    Raises:
        VGGymError: a data set is missing or lacks boxes, or an option is unknown.
    """
    root = {"root": config.root} if config.root else {}
    train = open_dataset(config.dataset, "train", **root, **config.dataset_options)
    others = options_of_all_splits(config.dataset, config.dataset_options)
    val = open_dataset(config.dataset, config.validate_split, **root, **others)
    for data in (train, val):
        if needs_boxes and isinstance(data, MayLack) and not data.labeled:
            raise VGGymError(
                f"{config.dataset}/{data.split} has no boxes, and this training learns from boxes; add them to its "
                "rows, or train an agent with reward=clip, which reads none"
            )
    return train, val


def options_of_all_splits(dataset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``dataset_options`` for all splits: those of data sets on disk, which define how files are read.

    >>> options_of_all_splits("hub:mine", {"box_format": "xywh"}), options_of_all_splits("refshapes", {"scenes": 9})
    ({'box_format': 'xywh'}, {})
    """
    is_read = dataset.partition(":")[0] in DATASET_KINDS or dataset_spec(dataset).read_from_disk
    return dict(options) if is_read else {}


def splits_made_of(train: GroundingDataset, validation: GroundingDataset | Sequence[Any]) -> dict[str, str]:
    """Return hashes of a run's data (:mod:`vg_gym.fitting.origin`)."""
    return {"training split": samples_mark(train), "validation split": samples_mark(validation)}


def samples_mark(samples: GroundingDataset | Sequence[Any]) -> str:
    """Return the number of samples and a hash of their words and boxes.

    RefShapes lacks a hash, and that of RefScenes is of its first samples, because reading all would draw all scenes.
    """
    count = len(samples)
    if isinstance(samples, RefShapes):
        return f"{count:,} samples"
    if isinstance(samples, RefScenes):
        first = [samples[row] for row in range(min(count, DRAWN_SAMPLES))]
        return f"{count:,} samples, content {fingerprint(*map(_words_and_box, first))[:12]}"
    rows = np.unique(np.linspace(0, max(count - 1, 0), min(count, MAX_HASHED_SAMPLES)).astype(int))
    return f"{count:,} samples, content {fingerprint(*(_words_and_box(samples[int(row)]) for row in rows))[:12]}"


def _words_and_box(sample: Any) -> bytes:
    query = getattr(sample, "query", sample)
    box = np.asarray(getattr(sample, "boxes", ()), np.float32).tobytes()
    return f"{query.expression}\0{getattr(sample, 'image_id', '')}\0".encode() + box
