"""RefScenes as a data set: scenes drawn in three dimensions, with the expressions of people, without a download.

A sample is a pure function of (split, index, seed, image size). Splits draw from different random streams and do not
share scenes.

A query contains neither the scene nor its number: a :class:`DrawnImage` has a sealed key and a size, and a query's key
is made only from that key and the words, so that it reveals nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vg_gym.data.opaque import opaque, seal, unseal
from vg_gym.data.worlds.cutouts.composed import ComposedScenes
from vg_gym.data.worlds.further_expressions import MAX_EXPRESSIONS, expressions_of
from vg_gym.data.worlds.refscenes.chunks import labels_of, pixels_of
from vg_gym.data.worlds.refscenes.demands import ANY, NAME, SPLITS
from vg_gym.data.worlds.refscenes.kinds import KINDS
from vg_gym.data.worlds.refscenes.records import DRAWING, IMAGES_PER_SPLIT, SceneRecord, scene_of
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.errors import VGGymError, unknown_split
from vg_gym.types import ArrayLike, Objects, Query, Sample

IMAGE_SIZES = (128, 640)
"""Smallest and largest long side of the pictures in pixels."""
MAX_THINGS_PER_IMAGE = 100
"""Distance between the first annotation numbers of two images."""
OPTIONS = frozenset({"scenes", "seed", "image_size", "expressions", "compose"})
"""Names of the options of the data set."""
NO_THING = 99
"""Number within an image of the annotation of an expression that means nothing."""
_NAMES, _SPLITS = (NAME, ANY), tuple(SPLITS)
_FIELDS = struct.Struct(">BBHIQ")
"""Name, split, image size, index and seed of a scene in its sealed key."""


@dataclass(frozen=True)
class DrawnImage(ArrayLike):
    """The picture of a scene, drawn once and kept in the cache folder; implements :class:`vg_gym.types.ImageRef`.

    The scene cannot be reached from it: this module reads the number of the scene from the sealed key.
    """

    key: str
    """Identity of the pixels."""
    size: tuple[int, int]
    """(width, height) in pixels."""

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3)."""
        return pixels_of(_record_of(self.key))


def _image_of(record: SceneRecord, size: tuple[int, int]) -> DrawnImage:
    name, split = _NAMES.index(record.name), _SPLITS.index(record.split)
    fields = _FIELDS.pack(name, split, record.image_size, record.index, record.seed)
    return DrawnImage(f"{record.name}-{DRAWING}/{seal(fields)}", size)


def _record_of(key: str) -> SceneRecord:
    """Return the scene that the key of an image seals."""
    name, split, image_size, index, seed = _FIELDS.unpack(unseal(key.rpartition("/")[2]))
    return SceneRecord(_SPLITS[split], index, seed, image_size, _NAMES[name])


class RefScenes(Sequence[Sample]):
    """A split of RefScenes: a fixed number of expressions for each scene.

    Args:
        split: a key of :data:`~vg_gym.data.worlds.refscenes.demands.SPLITS`.
        scenes: number of scenes; by default that of the split.
        seed: seed of the scenes; another seed gives another data set.
        image_size: long side of the pictures in pixels, 128 to 640.
        name: ``refscenes``, or ``refscenes-any``, where a quarter of the expressions means nothing and a quarter two to
            four things.
        expressions: number of expressions of each scene, 1 to 10; by default that of the split. Beyond it,
            expressions are found for the scenes that are drawn already.

    Raises:
        VGGymError: the split is unknown, or a number is out of range.
    """

    def __init__(
        self, split: str, scenes: int | None = None, seed: int = 0, image_size: int = 256, name: str = NAME,
        expressions: int | None = None,
    ) -> None:  # fmt: skip
        if split not in SPLITS:
            raise unknown_split(name, split, SPLITS)
        if scenes is not None and not 1 <= scenes <= IMAGES_PER_SPLIT:
            raise VGGymError(f"{name}: scenes={scenes} must be in [1, {IMAGES_PER_SPLIT}]")
        if not IMAGE_SIZES[0] <= image_size <= IMAGE_SIZES[1]:
            raise VGGymError(f"{name}: image_size={image_size} must be in [{IMAGE_SIZES[0]}, {IMAGE_SIZES[1]}]")
        if not 0 <= seed < 2**64:
            raise VGGymError(f"{name}: seed={seed} must be in [0, 2**64)")
        if expressions is not None and not 1 <= expressions <= MAX_EXPRESSIONS:
            raise VGGymError(f"{name}: expressions={expressions} must be in [1, {MAX_EXPRESSIONS}]")
        self.split, self.seed, self.image_size = split, seed, image_size
        self.name, self.scenes = name, scenes or SPLITS[split].scenes
        self.expressions = expressions or self.record(0).expressions

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return self.scenes * self.expressions

    def record(self, scene: int) -> SceneRecord:
        """Return the scene with an index in [0, ``scenes``)."""
        return SceneRecord(self.split, scene, self.seed, self.image_size, self.name)

    def __getitem__(self, index):  # type: ignore[override]
        """Return a sample, or the list of a slice; the expressions of a scene are neighbours."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"{self.name}/{self.split} has {len(self)} samples, so index {index} is out of range")
        scene, position = divmod(int(index) % len(self), self.expressions)
        return self._sample(self.record(scene), position)

    def _sample(self, record: SceneRecord, position: int) -> Sample:
        labels, image_id = labels_of(record), record.image_id
        words, kind, rows = expressions_of(record, labels, position + 1)[position]
        image = _image_of(record, labels.size)
        query = Query(image, words, f"{image.key}/{opaque(words)}")
        ann_id = image_id * MAX_THINGS_PER_IMAGE + (labels.numbers[rows[0]] if rows else NO_THING)
        sent_id = image_id * MAX_EXPRESSIONS + position
        boxes = np.array([labels.boxes[row] for row in rows], dtype=np.float32).reshape(-1, 4)
        category = labels.kinds[rows[0]] if rows else ""
        return Sample(query, boxes, category, ann_id, ann_id, sent_id, image_id, self.split, kind)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over all samples in order."""
        return (self[i] for i in range(len(self)))

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the kinds, sorted."""
        return tuple(sorted(KINDS))

    def objects(self, image_id: int) -> Objects:
        """Return the annotated objects of an image: all but tiny ones."""
        labels = labels_of(self.record(image_id % IMAGES_PER_SPLIT))
        ann_ids = tuple(image_id * MAX_THINGS_PER_IMAGE + number for number in labels.numbers)
        return Objects(np.array(labels.boxes, dtype=np.float32).reshape(-1, 4), labels.kinds, ann_ids)

    def segments(self, image_id: int) -> np.ndarray:
        """Return the object of each pixel of an image, uint8 (H, W): numbers from 1 as in :meth:`objects`."""
        record = self.record(image_id % IMAGES_PER_SPLIT)
        labels = labels_of(record)
        segments = truth_alone(scene_of(record, labels.attempt)).segments
        rows = np.zeros(256, np.uint8)
        rows[np.array(labels.numbers) + 1] = np.arange(1, len(labels.numbers) + 1)
        return rows[segments]


def open_refscenes(name: str, split: str, root: str | None = None, **options: Any) -> Sequence[Sample]:
    """Open RefScenes, which is drawn, not read; this is the registry's factory.

    Args:
        name: ``refscenes`` or ``refscenes-any``.
        split: a key of :data:`~vg_gym.data.worlds.refscenes.demands.SPLITS`.
        root: must be None.
        **options: ``scenes``, ``seed``, ``image_size``, ``expressions``; ``compose``, a folder of cut-outs that flat
            scenes are made of (:class:`~vg_gym.data.worlds.cutouts.composed.ComposedScenes`).

    Raises:
        VGGymError: a root was given, an option is unknown, or a folder of cut-outs cannot be used.
    """
    if root is not None:
        raise VGGymError(f"{name} is drawn, not read: leave root={root!r} out (or name a data set that is on disk)")
    if not set(options) <= OPTIONS:
        raise VGGymError(
            f"{name}: unknown options {sorted(set(options) - OPTIONS)}; known: {', '.join(sorted(OPTIONS))}"
        )
    folder = options.pop("compose", None)
    if folder is None:
        return RefScenes(split, name=name, **options)
    if "expressions" in options:
        raise VGGymError(f"{name}: expressions= is of drawn scenes, and compose={folder} makes scenes of cut-outs")
    if name != NAME:
        raise VGGymError(f"{name} has no compose={folder}: what is not there is not known of cut-outs; use {NAME}")
    return ComposedScenes(str(folder), split, **options)
