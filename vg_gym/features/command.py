"""Functions of the command ``vg-gym features`` beside :mod:`vg_gym.features.extraction`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vg_gym.clip.loader import load_clip
from vg_gym.errors import VGGymError
from vg_gym.features.store import FeatureStore
from vg_gym.features.workers import Load
from vg_gym.registry import open_dataset
from vg_gym.runtime.devices import pick_device
from vg_gym.storage.lazy_sequence import Chained, LazySequence
from vg_gym.types import GroundingDataset, Query


def queries_of(name: str, root: Path | None, splits: Sequence[str], limit: int | None = None) -> Sequence[Query]:
    """Return the queries of a data set, split after split, as a lazy sequence.

    Args:
        name: name of the data set.
        root: folder of the data set.
        splits: names of splits.
        limit: maximum number of images of each split, in the order of their first expressions; by default all.
    """
    return Chained(_queries_of(open_dataset(name, split, str(root) if root else None), limit) for split in splits)


def _queries_of(dataset: GroundingDataset, limit: int | None) -> Sequence[Query]:
    return LazySequence(_samples_within(dataset, limit), lambda row: dataset[row].query)


def _samples_within(dataset: GroundingDataset, limit: int | None) -> int:
    """Return the number of samples before the first image beyond the limit."""
    images: set[str] = set()
    for row in range(len(dataset)) if limit is not None else ():
        images.add(dataset[row].query.image.key)
        if len(images) > (limit or 0):
            return row
    return len(dataset)


def verified(path: Path) -> FeatureStore:
    """Open a finished store and check all its checksums.

    Raises:
        VGGymError: there are damaged shards; the message names them and the remedy.
    """
    store = FeatureStore.open(path)
    if damaged := store.verify():
        names = " ".join(file.name for file in damaged)
        command = f"`{m}`" if (m := store.manifest.command) else "the program that makes it"
        raise VGGymError(
            f"{path} has {len(damaged)} damaged shards: {names}; delete these files and run {command} again"
        )
    return store


def loader(name: str, device: str = "auto") -> Load:
    """Return a function that loads a CLIP by name, here and in workers; ``auto`` uses a GPU if this process has one."""
    return partial(load_clip, name, pick_device(device))
