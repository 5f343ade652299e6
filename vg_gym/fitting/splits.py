"""The data sets of a training: what it learns from and what it is judged on."""

from __future__ import annotations

from vg_gym.errors import VGGymError
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.registry import open_dataset
from vg_gym.types import GroundingDataset, MayLack


def open_splits(config: DatasetFitConfig) -> tuple[GroundingDataset, GroundingDataset]:
    """The training split and the split that validates.

    Raises:
        VGGymError: a data set that is not there or has no boxes, or an option that it does not have.
    """
    root = {"root": config.root} if config.root else {}
    train = open_dataset(config.dataset, "train", **root, **config.dataset_options)
    val = open_dataset(config.dataset, config.validate_split, **root)
    for data in (train, val):
        if isinstance(data, MayLack) and not data.labeled:
            raise VGGymError(
                f"{config.dataset}/{data.split} has no boxes, and this training learns from boxes; add them to its "
                "rows, or train an agent with reward=clip, which reads none"
            )
    return train, val
