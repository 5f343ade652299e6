"""What the command ``vg-gym features`` needs beside :mod:`vg_gym.features.extraction`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from vg_gym.clip.encoder import load_clip
from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.features.store import FeatureStore
from vg_gym.features.workers import Load
from vg_gym.registry import open_dataset
from vg_gym.types import Query


def queries_of(name: str, root: Path | None, splits: Sequence[str], limit: int | None = None) -> list[Query]:
    """The queries of a data set, split after split.

    Args:
        name: of the data set.
        root: its folder.
        splits: names of splits.
        limit: most images of each split, in the order of their first expressions; default: all.
    """
    found = []
    for split in splits:
        dataset = open_dataset(name, split, str(root) if root else None)
        images: set[str] = set()
        for row in tqdm(range(len(dataset)), desc=f"{name}/{split}", unit="expression", mininterval=2):
            query = dataset[row].query
            images.add(query.image.key)
            if limit is not None and len(images) > limit:
                break
            found.append(query)
    return found


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
