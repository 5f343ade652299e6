"""Benchmarks in parquet files of the hub, under names of their own: Ref-L4, Ref-Adv-s, GroundingME.

Chen et al., "Revisiting Referring Expression Comprehension Evaluation in the Era of Large Multimodal Models", arXiv
2406.16866 (Ref-L4); Dong et al., "Ref-Adv: Exploring MLLM Visual Reasoning in Referring Expression Tasks", ICLR 2026;
Li et al., "GroundingME: Exposing the Visual Grounding Gap in MLLMs through Multi-Dimensional Evaluation", arXiv
2512.17495. Their columns are those of :data:`vg_gym.data.parquet_layouts.LAYOUTS`.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from vg_gym.data.parquet import ParquetDataset
from vg_gym.data.parquet_files import fetch
from vg_gym.data.refcoco import DATA_VARIABLE
from vg_gym.errors import unknown_split


@dataclass(frozen=True)
class PublishedParquet:
    """Published place and sizes of a data set."""

    repository: str
    """``ORG/NAME`` on the hub."""
    folder: str
    """Name of the folder of its files below ``root``."""
    splits: dict[str, tuple[str, int]]
    """Split -> (name of its files, number of expressions); 0 is not compared, because it is published nowhere."""


PUBLISHED_PARQUET = {
    "ref-l4": PublishedParquet("JierunChen/Ref-L4", "ref-l4", {"val": ("ref-l4-val", 0), "test": ("ref-l4-test", 0)}),
    "ref-adv-s": PublishedParquet("dddraxxx/ref-adv-s", "ref-adv-s", {"test": ("train", 1_142)}),
    "grounding-me": PublishedParquet("lirang04/GroundingME", "grounding-me", {"test": ("test", 1_005)}),
}
"""Data set -> its published place and sizes."""


def open_published_parquet(
    name: str, split: str, root: str | Path | None = None, revision: str | None = None, **options: str
) -> ParquetDataset:
    """Open a benchmark of parquet files; this is the registry's factory.

    Args:
        name: a key of :data:`PUBLISHED_PARQUET`.
        split: one of its splits.
        root: folder of its parquet files and images, or a folder with such a folder under the name of the data set; by
            default the environment variable ``VG_GYM_DATA``. Parquet files that are not there are fetched from the hub.
        revision: commit, tag or branch on the hub.
        **options: fields of :class:`vg_gym.data.parquet_layouts.Layout`.

    Raises:
        VGGymError: the split does not exist, or see :class:`vg_gym.data.parquet.ParquetDataset`.
    """
    published = PUBLISHED_PARQUET[name]
    if split not in published.splits:
        raise unknown_split(name, split, published.splits)
    files, size = published.splits[split]
    home = find_parquet(name, root)
    data = ParquetDataset(name, files, home or fetch(published.repository, files, revision), home or root, **options)
    data.split = split
    if size and len(data) != size:
        warnings.warn(
            f"{name}/{split} has {len(data):,} expressions; published are {size:,}: this copy is partial or altered",
            stacklevel=2,
        )
    return data


def find_parquet(name: str, root: str | Path | None = None) -> Path | None:
    """Return the folder of a data set's parquet files below ``root`` (or ``VG_GYM_DATA``); None if it has none."""
    chosen = root or os.environ.get(DATA_VARIABLE)
    folder = PUBLISHED_PARQUET[name].folder
    # Below a folder of many data sets, only the folder of this one is searched.
    places = [Path(chosen) / folder, Path(chosen)] if chosen else []
    for place in places:
        if any(place.glob("*.parquet")) or any(place.glob("data/*.parquet")):
            return place
    return None
