"""What the command ``vg-gym features`` needs beside :mod:`vg_gym.features.extraction`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vg_gym.clip.encoder import load_clip
from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.features.store import FeatureStore
from vg_gym.features.workers import Load
from vg_gym.registry import open_dataset
from vg_gym.storage.lazy_sequence import Chained, LazySequence
from vg_gym.types import GroundingDataset, Query


def queries_of(name: str, root: Path | None, splits: Sequence[str], limit: int | None = None) -> Sequence[Query]:
    """The queries of a data set, split after split, made when they are asked for.

    Args:
        name: of the data set.
        root: its folder.
        splits: names of splits.
        limit: most images of each split, in the order of their first expressions; default: all.
    """
    return Chained(_queries_of(open_dataset(name, split, str(root) if root else None), limit) for split in splits)


def _queries_of(dataset: GroundingDataset, limit: int | None) -> Sequence[Query]:
    return LazySequence(_within(dataset, limit), lambda row: dataset[row].query)


def _within(dataset: GroundingDataset, limit: int | None) -> int:
    """How many samples come before an image more than a limit."""
    images: set[str] = set()
    for row in range(len(dataset)) if limit is not None else ():
        images.add(dataset[row].query.image.key)
        if len(images) > (limit or 0):
            return row
    return len(dataset)


def verified(path: Path) -> FeatureStore:
    """Open a finished store and check all its checksums.

    Raises:
        VGGymError: there are damaged shards; names them and the remedy.
    """
    store = FeatureStore.open(path)
    if damaged := store.verify():
        names = " ".join(file.name for file in damaged)
        again = f"`{m}`" if (m := store.manifest.command) else "what makes it"
        raise VGGymError(f"{path} has {len(damaged)} damaged shards: {names}; delete these files and run {again} again")
    return store


def loader(name: str, device: str = "auto") -> Load:
    """Loads a CLIP by name, in this process and in its workers; ``auto``: on a GPU where this process has one."""
    return partial(load_clip, name, pick_device(device))
