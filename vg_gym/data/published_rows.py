"""Benchmarks in files of their own format, read as rows: HumanRef, FineCops-Ref, the reviewed RefCOCO sets, D3.

Jiang et al., "Referring to Any Person", ICCV 2025 (HumanRef); Liu et al., "FineCops-Ref: A new Dataset and Task for
Fine-Grained Compositional Referring Expression Comprehension", EMNLP 2024; Chen et al., arXiv 2406.16866 (the reviewed
annotations); Xie et al., "Described Object Detection: Liberating Object Detection with Flexible Expressions", NeurIPS
2023 (D3).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vg_gym.data.column_arrays import Columns
from vg_gym.data.images import FileImage, SealedImage
from vg_gym.data.opaque import opaque
from vg_gym.data.own import OwnData
from vg_gym.data.pixels import STORED
from vg_gym.data.published_files import parse_d3, parse_finecops, parse_humanref, parse_reviewed
from vg_gym.data.refcoco import DATA_VARIABLE, image_folders
from vg_gym.data.rows import ALL
from vg_gym.errors import DatasetNotFound, ImageError, VGGymError, unknown_split
from vg_gym.types import ImageRef

NEGATIVE_FOLDERS = ("final_neg_images", "neg_images", "gqa_images/images")
"""Folders of FineCops-Ref's pictures, beside those of the other data sets."""


@dataclass(frozen=True)
class PublishedRows:
    """Published files and sizes of a data set."""

    folder: str
    """Name of the folder of its files below ``root``."""
    parse: Callable[[Path], Columns]
    """Parser of a file."""
    splits: dict[str, tuple[str, int]]
    """Split -> (path of its file in the folder, number of expressions); 0 is not compared."""
    source: str
    """Page of the files."""
    beside: tuple[str, ...] = ()
    """Paths of further files that the parser reads."""


def _reviewed(folder: str, prefix: str, **sizes: int) -> PublishedRows:
    splits = {split: (f"{prefix}_{split}_reviewed.json", size) for split, size in sizes.items()}
    return PublishedRows(folder, parse_reviewed, splits, "https://huggingface.co/datasets/JierunChen/Ref-L4")


PUBLISHED_ROWS = {
    "refcoco-unc-reviewed": _reviewed("refcocos_annotation_reviewed", "refcoco", val=10_834, testA=5_657, testB=5_095),
    "refcoco+-unc-reviewed": _reviewed(
        "refcocos_annotation_reviewed", "refcoco+", val=10_758, testA=5_726, testB=4_889
    ),
    "refcocog-umd-reviewed": _reviewed("refcocos_annotation_reviewed", "refcocog", val=4_896, test=9_602),
    "humanref": PublishedRows(
        "humanref",
        parse_humanref,
        {"test": ("annotations.jsonl", 6_000)},
        "https://huggingface.co/datasets/IDEA-Research/HumanRef",
    ),
    "finecops-ref": PublishedRows(
        "finecops-ref",
        parse_finecops,
        {
            "train": ("expression_all_train_set_coco_format.json", 0),
            "val": ("expression_pos_final_val_set_coco_format.json", 0),
            "test": ("test_expression_all_coco_format.json", 27_926),
        },
        "https://github.com/liujunzhuo/FineCops-Ref",
    ),
    "d3": PublishedRows(
        "d3",
        parse_d3,
        {"test": ("d3_json/d3_full_annotations.json", 0)},
        "https://github.com/shikras/d-cube",
        ("d3_pkl/sentences.pkl", "d3_pkl/groups.pkl"),
    ),
}
"""Data set -> its published files and sizes."""


class PublishedData(OwnData):
    """A split of a published data set in rows. Neither the keys of queries nor those of images tell what is meant.

    Args:
        name: a key of :data:`PUBLISHED_ROWS`.
        split: one of its splits.
        home: folder of its files.

    Raises:
        VGGymError: the file has another format, or a row is wrong; the message names it.
    """

    def __init__(self, name: str, split: str, home: Path):
        published = PUBLISHED_ROWS[name]
        file, size = published.splits[split]
        if lacking := [path for path in published.beside if not (home / path).is_file()]:
            raise VGGymError(f"{name}: {home} lacks {', '.join(lacking)}; get the files from {published.source}")
        beside = [home / path for path in published.beside]
        super().__init__(home / file, ALL, home, STORED, published.parse, beside)
        self.name, self.split = name, split
        self._folders = [home, *image_folders(home), *(home / folder for folder in NEGATIVE_FOLDERS)]
        if size and len(self) != size:
            warnings.warn(
                f"{name}/{split} in {self.path} has {len(self):,} expressions; published are {size:,}: this copy is "
                "partial or altered",
                stacklevel=3,
            )

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(PUBLISHED_ROWS[self.name].splits)

    def _probe(self) -> None:
        """Check nothing: the frame of published boxes is known, and boxes that leave their image are clamped."""

    def _in_pixels(self, boxes: np.ndarray, row: int, image: ImageRef) -> np.ndarray:
        try:
            return np.clip(boxes, 0, np.tile(image.size, 2)).astype(np.float32)
        except ImageError:
            return boxes

    def _key(self, row: int) -> str:
        return f"{self.name}/{self.split}/{opaque(self._ids[row])}"

    def _image(self, row: int) -> SealedImage:
        """Return the image; names such as FineCops-Ref's ``neg_7.jpg`` would tell that nothing is meant."""
        name, (width, height) = self._images[row], self._columns["size"][row].tolist()
        size = (width, height) if width else None
        first, *others = (folder / name for folder in self._folders)
        return SealedImage.of(FileImage(first, f"{self._home}/{opaque(name)}", size, tuple(others), STORED))


def find_rows(name: str, split: str, root: str | Path | None = None) -> Path:
    """Return the folder of a data set's files below ``root`` (or ``VG_GYM_DATA``).

    Raises:
        VGGymError: no folder is given, or it lacks the file of the split; the message lists the searched folders.
    """
    published, chosen = PUBLISHED_ROWS[name], root or os.environ.get(DATA_VARIABLE)
    remedy = f"get the files from {published.source}"
    if not chosen:
        raise DatasetNotFound(f"{name} is read from disk: give root=DIR or set {DATA_VARIABLE}, or {remedy}")
    file, places = published.splits[split][0], [Path(chosen) / published.folder, Path(chosen)]
    for place in places:
        if (place / file).is_file():
            return place
    raise VGGymError(f"no {file} for {name}; looked in {', '.join(map(str, places))}; correct root= or {remedy}")


def open_published_rows(name: str, split: str, root: str | Path | None = None, **options: object) -> PublishedData:
    """Open a benchmark that is read as rows; this is the registry's factory.

    Args:
        name: a key of :data:`PUBLISHED_ROWS`.
        split: one of its splits.
        root: folder of its files and images, or a folder with such a folder; by default the environment variable
            ``VG_GYM_DATA``.
        **options: not supported.

    Raises:
        VGGymError: an option was given, the split does not exist, or the files are missing or damaged.
    """
    if options:
        raise VGGymError(f"{name} takes no options, got {', '.join(sorted(options))}; leave them out")
    splits = PUBLISHED_ROWS[name].splits
    if split not in splits:
        raise unknown_split(name, split, splits)
    return PublishedData(name, split, find_rows(name, split, root))
