"""RefCOCOg, RefCOCO, RefCOCO+ and gRefCOCO, read in their published form; nothing in their pickles is run.

Yu et al., "Modeling Context in Referring Expressions", ECCV 2016 (RefCOCO, RefCOCO+, UNC splits); Mao et al.,
"Generation and Comprehension of Unambiguous Object Descriptions", CVPR 2016 (RefCOCOg, Google split); Nagaraja et al.,
"Modeling Context Between Objects for Referring Expression Understanding", ECCV 2016 (RefCOCOg, UMD split);
He et al., "GREC: Generalized Referring Expression Comprehension", arXiv 2308.16182 (gRefCOCO: an expression means none,
one or several objects). The layout of gRefCOCO was read in the code of its authors, ``henghuiding/gRefCOCO``.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from vg_gym.data.annotations import decode_mask, lookup, parse_instances, parse_refs
from vg_gym.data.column_arrays import Strings, first_equal
from vg_gym.data.images import FileImage
from vg_gym.data.index import indexed
from vg_gym.data.opaque import opaque
from vg_gym.data.pixels import STORED
from vg_gym.errors import DatasetNotFound, VGGymError, unknown_split
from vg_gym.storage.lazy_sequence import IndexedSequence
from vg_gym.types import Objects, Query, Sample

DATA_VARIABLE = "VG_GYM_DATA"
"""Environment variable with the folder of the data, used without ``root``."""
IMAGE_FOLDERS = ("images", "images/train2014", "images/mscoco/images/train2014", "train2014")
"""Possible folders of the images, below the data set's folder and below its parent."""
COCO_NAME = re.compile(r"\d{12}\.\w+$")
"""End of COCO's file names: the number of the image, which occurs in one folder only."""


@dataclass(frozen=True)
class Published:
    """Published names and sizes of a data set."""

    folder: str
    """Name of the folder."""
    refs: str
    """Name of the file of refs."""
    splits: dict[str, tuple[int, int]]
    """Split -> (number of expressions, number of images); 0 is not compared: Google's splits share images, and the
    papers and the files of gRefCOCO disagree on expressions."""
    any_targets: bool = False
    """True if expressions without a target and with several are samples; otherwise they are left out."""
    source: str = ""
    """Page of the files; empty if ``vg-gym download`` fetches them."""


PUBLISHED_SETS = {
    "refcocog-umd": Published(
        "refcocog", "refs(umd).p", {"train": (80_512, 21_899), "val": (4_896, 1_300), "test": (9_602, 2_600)}
    ),
    "refcocog-google": Published("refcocog", "refs(google).p", {"train": (85_474, 0), "val": (9_536, 0)}),
    "refcoco-unc": Published(
        "refcoco",
        "refs(unc).p",
        {"train": (120_624, 16_994), "val": (10_834, 1_500), "testA": (5_657, 750), "testB": (5_095, 750)},
    ),
    "refcoco+-unc": Published(
        "refcoco+",
        "refs(unc).p",
        {"train": (120_191, 16_992), "val": (10_758, 1_500), "testA": (5_726, 750), "testB": (4_889, 750)},
    ),
    "grefcoco-unc": Published(
        "grefcoco",
        "grefs(unc).json",
        {"train": (0, 0), "val": (0, 1_500), "testA": (0, 750), "testB": (0, 750)},
        any_targets=True,
        source="https://huggingface.co/datasets/FudanCVL/gRefCOCO",
    ),
}
"""Data set -> its published names and sizes."""


def find_annotations(name: str, root: str | Path | None = None) -> Path:
    """Return the folder with the files of data set ``name``: its refs and ``instances.json``.

    The search covers ``root``, ``root/annotations``, and both below ``root/refcocog`` (``refcoco``, ``refcoco+``).

    Args:
        name: a key of :data:`PUBLISHED_SETS`.
        root: folder of the search; by default the environment variable ``VG_GYM_DATA``.

    Raises:
        VGGymError: no folder is given, or it lacks the files; the message lists the searched folders.
    """
    published = PUBLISHED_SETS[name]
    remedy = (
        f"get both files from {published.source}"
        if published.source
        else (f"run `vg-gym download {published.folder} --root DIR`")
    )
    chosen = root or os.environ.get(DATA_VARIABLE)
    if not chosen:
        raise DatasetNotFound(f"{name} is read from disk: give root=DIR or set {DATA_VARIABLE}, or {remedy}")
    bases = [Path(chosen) / published.folder, Path(chosen)]
    # The files of RefCOCO and RefCOCO+ have the same names; only their folders differ.
    others = {other.folder for other in PUBLISHED_SETS.values()} - {published.folder}
    places = [place for base in bases if base.name not in others for place in (base / "annotations", base)]
    for place in places:
        if (place / published.refs).is_file() and (place / "instances.json").is_file():
            return place
    searched = ", ".join(map(str, places)) or f"no place, since {chosen} is another data set's folder"
    raise VGGymError(
        f"no {published.refs} with instances.json for {name}; looked in {searched}; correct root= or {remedy}"
    )


def image_folders(annotations: Path) -> list[Path]:
    """Return the possible image folders of a folder of annotations; existing folders come first."""
    base = annotations.parent if annotations.name == "annotations" else annotations
    places = [place / folder for place in (base, base.parent) for folder in IMAGE_FOLDERS]
    return sorted([*places, base], key=lambda place: not place.is_dir())


def path_within(name: str) -> PurePosixPath:
    r"""Return the path of an image within its data set, without parts that lead out of it.

    >>> str(path_within("../a\\./1.png"))
    'a/1.png'
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return PurePosixPath(*(part for part in parts if part not in ("/", "//", "..")))


def image_places(folders: Sequence[Path], name: PurePosixPath, alone: bool = False) -> list[Path]:
    """Return the possible paths of an image: its path within the data set and, if unique, the last part of it.

    Args:
        folders: folders of images.
        name: path within the data set.
        alone: whether the last part of the path is unique; COCO's names with twelve digits always are.
    """
    names = [name, *([PurePosixPath(name.name)] if alone or COCO_NAME.search(name.name) else [])]
    return [folder / place for place in dict.fromkeys(names) for folder in folders]


class RefCOCO(IndexedSequence[Sample]):
    """A split of a RefCOCO-type data set: one sample per expression, in the order of the published file.

    Three kinds of expressions are left out, and a warning gives their number: those without any text, those with a box
    that is empty when clamped to the image, and, except in gRefCOCO, those without a target or with several. A sample
    without a target lacks a category and has ``ann_id`` -1; one with several has those of its first. Boxes refer to
    the stored pixels, like COCO's, unless the annotated width and height fit only the upright image. A warning names
    both numbers if the number of expressions or images differs from the published one.

    Args:
        name: a key of :data:`PUBLISHED_SETS`.
        split: one of the set's splits. RefCOCO and RefCOCO+ have no ``test``: testA (people) and testB (other objects)
            measure different abilities and are always reported separately.
        annotations: folder with the refs and ``instances.json``.

    Raises:
        VGGymError: the split is unknown or missing in this copy, two expressions have the same sent_id, or the files
            are damaged or do not fit together.
    """

    def __init__(self, name: str, split: str, annotations: Path):
        published = PUBLISHED_SETS[name]
        if split not in published.splits:
            raise unknown_split(name, split, published.splits)
        self.name, self.split = name, split
        self._refs_path = annotations / published.refs
        self._refs = indexed(self._refs_path, parse_refs)
        self._instances = indexed(annotations / "instances.json", parse_instances)
        self._texts, self._ref_names = Strings(self._refs, "sent"), Strings(self._refs, "ref_name")
        self._image_names = Strings(self._instances, "image_name")
        self._categories = tuple(Strings(self._instances, "category"))
        self._image_key = bytes(self._instances["digest"][:6]).hex()
        self._folders = image_folders(annotations)
        self._any_targets = published.any_targets
        refs_of_split = self._refs_of_split()
        self._image_rows, self._ann_rows = self._join(refs_of_split)
        self._rows = self._usable(np.flatnonzero(refs_of_split[self._refs["sent_ref"]]))
        self._refuse_clashes()
        self._compare_with(*published.splits[split])

    def _join(self, refs_of_split: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the refs' images (R,) and of their annotations (T,); -1 outside of this split.

        Refs whose number of targets is not of this data set are not joined either.
        """
        refs, counts = self._refs, np.diff(self._refs["ref_ann.offsets"])
        chosen = refs_of_split & (self._any_targets | (counts == 1))
        image_rows, ann_rows = np.full(len(counts), -1), np.full(len(refs["ref_ann"]), -1)
        image_rows[chosen] = lookup(self._instances["image_id"], refs["ref_image"][chosen])
        ref_of_target, targets = np.repeat(np.arange(len(counts)), counts), np.repeat(chosen, counts)
        ann_rows[targets] = lookup(self._instances["ann_id"], refs["ref_ann"][targets])
        elsewhere = self._instances["ann_image"][ann_rows] != image_rows[ref_of_target]
        for target in np.flatnonzero(targets & ((ann_rows < 0) | elsewhere))[:1]:
            self._refuse_lack(ref_of_target[target], f"annotation {refs['ref_ann'][target]} of ")
        for ref in np.flatnonzero(chosen & (image_rows < 0))[:1]:
            self._refuse_lack(ref, "of ")
        return image_rows, ann_rows

    def _refuse_lack(self, ref: int, annotation: str) -> None:
        ref_id, image_id = int(self._refs["ref_id"][ref]), int(self._refs["ref_image"][ref])
        raise VGGymError(
            f"{self._refs_path}: ref {ref_id} is {annotation}image {image_id}, which the instances.json beside it "
            "lacks; take both files from one download"
        )

    def _usable(self, sentences: np.ndarray) -> np.ndarray:
        """Return the sentences (rows) that have a text, an allowed number of targets, and no empty box."""
        refs, counts = self._refs["sent_ref"][sentences], np.diff(self._refs["ref_ann.offsets"])
        empty = ~_has_area(self._instances["ann_box"])[self._ann_rows]
        with_empty = np.bincount(np.repeat(np.arange(len(counts)), counts), empty, len(counts)) > 0
        usable = np.ones(len(sentences), bool)
        for fault, passes in (
            ("several targets, or none", self._any_targets | (counts[refs] == 1)),
            ("no text", np.diff(self._refs["sent.offsets"])[sentences] > 0),
            ("an empty box", ~with_empty[refs]),
        ):
            if count := int(np.sum(usable & ~passes)):
                warnings.warn(f"{self.name}/{self.split}: left out {count} expressions with {fault}", stacklevel=4)
            usable &= passes
        if not usable.any():
            boxes = "boxes" if self._any_targets else "one box"
            raise VGGymError(
                f"{self._refs_path}: no expression of {self.split} has a text and {boxes}; get another file"
            )
        return sentences[usable]

    def _refuse_clashes(self) -> None:
        """Refuse two expressions with the same sent_id, which would share predictions."""
        ids = self._refs["sent_id"][self._rows]
        first = first_equal(ids)
        for row in np.flatnonzero(first != np.arange(len(ids)))[:1]:
            pair = self._rows[[first[row], row]]
            one, two = self._refs["ref_id"][self._refs["sent_ref"][pair]].tolist()
            raise VGGymError(
                f"{self._refs_path}: sent_id {ids[row]} belongs to an expression of ref {one} and to one of ref {two}; "
                "ids must differ: get the original file"
            )

    def _refs_of_split(self) -> np.ndarray:
        """Return which refs belong to this split, bool (R,)."""
        names = list(Strings(self._refs, "split"))
        if self.split not in names:
            raise VGGymError(
                f"{self._refs_path} has no ref of split {self.split!r}, only of {', '.join(names) or 'none'}; "
                "get the complete file"
            )
        return np.asarray(self._refs["ref_split"]) == names.index(self.split)

    def _compare_with(self, expressions: int, images: int) -> None:
        """Warn if the numbers of expressions and images differ from the published ones, where those are not 0."""
        image_count = len(np.unique(self._refs["ref_image"][self._refs["sent_ref"][self._rows]]))
        if (expressions and len(self) != expressions) or (images and image_count != images):
            published = [f"{expressions:,} expressions"] * bool(expressions) + [f"{images:,} images"] * bool(images)
            warnings.warn(
                f"{self.name}/{self.split} in {self._refs_path.parent} has {len(self):,} expressions on "
                f"{image_count:,} images; published are {' on '.join(published)}: this copy is partial or altered",
                stacklevel=4,
            )

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return len(self._rows)

    def means_one(self) -> np.ndarray:
        """Return which samples have one box, bool (N,)."""
        return np.diff(self._refs["ref_ann.offsets"])[self._refs["sent_ref"][self._rows]] == 1

    def _item(self, number: int) -> Sample:
        sentence = int(self._rows[number])
        ref = int(self._refs["sent_ref"][sentence])
        first, last = self._refs["ref_ann.offsets"][ref : ref + 2]
        anns, columns = self._ann_rows[first:last], self._instances
        sent_id = int(self._refs["sent_id"][sentence])
        image = self._image(self._image_rows[ref], self._ref_names[ref])
        query = Query(image, self._texts[sentence], f"{self.name}/{opaque(sent_id)}")
        return Sample(
            query=query,
            boxes=columns["ann_box"][anns],
            category=self._categories[columns["ann_category"][anns[0]]] if len(anns) else "",
            ref_id=int(self._refs["ref_id"][ref]),
            ann_id=int(columns["ann_id"][anns[0]]) if len(anns) else -1,
            sent_id=sent_id,
            image_id=int(self._refs["ref_image"][ref]),
            split=self.split,
        )

    def _image(self, row: int, ref_name: str = "") -> FileImage:
        """Return the image in a row of ``image_id``; ``ref_name`` is used if instances.json lacks a file name."""
        name = path_within(self._image_names[row] or without_suffix(ref_name))
        width, height = self._instances["image_size"][row].tolist()
        alone = len(name.parts) == 1 or name.name not in self._shared_names
        first, *others = image_places(self._folders, name, alone)
        size = (width, height) if width and height else None
        return FileImage(first, f"{self._image_key}/{name}", size, tuple(others), STORED)

    @cached_property
    def _shared_names(self) -> set[str]:
        """Last parts of file names that several images share."""
        names = (path_within(name).name for name in self._image_names)
        return {name for name, count in Counter(names).items() if count > 1}

    @property
    def categories(self) -> tuple[str, ...]:
        """All category names of ``instances.json``, sorted."""
        return self._categories

    def objects(self, image_id: int) -> Objects:
        """Return the annotated objects of an image, without crowds and without empty boxes.

        Raises:
            VGGymError: ``instances.json`` lacks the image.
        """
        columns = self._instances
        row = int(np.searchsorted(columns["image_id"], image_id))
        if row == len(columns["image_id"]) or columns["image_id"][row] != image_id:
            raise VGGymError(f"{self.name} has no image {image_id}; image ids are those of its samples")
        first, last = np.searchsorted(columns["ann_image"], [row, row + 1])
        keep = first + np.flatnonzero(~columns["ann_crowd"][first:last] & _has_area(columns["ann_box"][first:last]))
        categories = tuple(self._categories[i] for i in columns["ann_category"][keep])
        return Objects(np.array(columns["ann_box"][keep]), categories, tuple(columns["ann_id"][keep].tolist()))

    def segmentation(self, ann_id: int) -> np.ndarray:
        """Return the mask of an annotation, bool (H, W), from polygons or run-length codes.

        Raises:
            VGGymError: the annotation does not exist, or its segmentation cannot be decoded; the message names it.
        """
        rows = np.flatnonzero(self._instances["ann_id"] == ann_id)
        if not len(rows):
            raise VGGymError(f"{self.name} has no annotation {ann_id}; annotation ids are those of its samples")
        row = int(rows[0])
        try:
            segmentation = json.loads(Strings(self._instances, "ann_mask")[row])
            return decode_mask(segmentation, self._image(self._instances["ann_image"][row]).size)
        except (ValueError, TypeError) as error:
            raise VGGymError(f"{self.name}: annotation {ann_id} has no usable segmentation: {error}") from error


def _has_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])


def without_suffix(file_name: str) -> str:
    """Remove the object's number that may follow the twelve digits of the image in a ref's file name.

    >>> without_suffix("COCO_train2014_000000000154_12345.jpg"), without_suffix("000000000154_12345")
    ('COCO_train2014_000000000154.jpg', '000000000154')
    """
    return re.sub(r"(?<!\d)(\d{12})_\d+(\.\w+)?$", r"\1\2", file_name)


def open_refcoco(name: str, split: str, root: str | Path | None = None, **options: object) -> RefCOCO:
    """Open RefCOCOg, RefCOCO, RefCOCO+ or gRefCOCO; this is the registry's factory.

    Args:
        name: a key of :data:`PUBLISHED_SETS`.
        split: ``train``, ``val``, ``test`` (umd), ``testA`` and ``testB`` (unc); google has ``train`` and ``val``.
        root: folder with ``annotations`` (or the files themselves) and ``images``, or a folder with such folders
            called ``refcocog``, ``refcoco``, ``refcoco+``, ``grefcoco``; by default the environment variable
            ``VG_GYM_DATA``.
        **options: not supported.

    Raises:
        VGGymError: an option was given, the split does not exist, or the files are missing or damaged.
    """
    if options:
        raise VGGymError(f"{name} takes no options, got {', '.join(sorted(options))}; leave them out")
    return RefCOCO(name, split, find_annotations(name, root))
