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

import numpy as np

from vg_gym.data.opaque import opaque, seal, unseal
from vg_gym.data.worlds.refscenes.chunks import labels_of, pixels_of
from vg_gym.data.worlds.refscenes.demands import SPLITS
from vg_gym.data.worlds.refscenes.kinds import KINDS
from vg_gym.data.worlds.refscenes.records import DRAWING, IMAGES_PER_SPLIT, SceneRecord, scene_of
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.errors import VGGymError
from vg_gym.types import Objects, Query, Sample

NAME = "refscenes"
IMAGE_SIZES = (128, 640)
"""Smallest and largest long side of the pictures in pixels."""
MAX_THINGS_PER_IMAGE = 100
"""Distance between the first annotation numbers of two images."""
MAX_EXPRESSIONS_PER_IMAGE = 10
"""Distance between the first sentence numbers of two images."""
_SPLITS = tuple(SPLITS)
_FIELDS = struct.Struct(">BxHIQ")
"""Split, image size, index and seed of a scene in its sealed key."""


@dataclass(frozen=True)
class DrawnImage:
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
    fields = _FIELDS.pack(_SPLITS.index(record.split), record.image_size, record.index, record.seed)
    return DrawnImage(f"{NAME}-{DRAWING}/{seal(fields)}", size)


def _record_of(key: str) -> SceneRecord:
    """Return the scene that the key of an image seals."""
    split, image_size, index, seed = _FIELDS.unpack(unseal(key.rpartition("/")[2]))
    return SceneRecord(_SPLITS[split], index, seed, image_size)


class RefScenes(Sequence[Sample]):
    """A split of RefScenes: a fixed number of expressions for each scene.

    Args:
        split: a key of :data:`~vg_gym.data.worlds.refscenes.demands.SPLITS`.
        scenes: number of scenes; by default that of the split.
        seed: seed of the scenes; another seed gives another data set.
        image_size: long side of the pictures in pixels, 128 to 640.

    Raises:
        VGGymError: the split is unknown, or a number is out of range.
    """

    name = NAME

    def __init__(self, split: str, scenes: int | None = None, seed: int = 0, image_size: int = 256):
        if split not in SPLITS:
            raise VGGymError(f"{NAME} has no split {split!r}; it has {', '.join(SPLITS)}")
        if scenes is not None and not 1 <= scenes <= IMAGES_PER_SPLIT:
            raise VGGymError(f"{NAME}: scenes={scenes} must be in [1, {IMAGES_PER_SPLIT}]")
        if not IMAGE_SIZES[0] <= image_size <= IMAGE_SIZES[1]:
            raise VGGymError(f"{NAME}: image_size={image_size} must be in [{IMAGE_SIZES[0]}, {IMAGE_SIZES[1]}]")
        if not 0 <= seed < 2**64:
            raise VGGymError(f"{NAME}: seed={seed} must be in [0, 2**64)")
        self.split, self.seed, self.image_size = split, seed, image_size
        self.scenes, self.expressions = scenes or SPLITS[split].scenes, SPLITS[split].expressions

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return self.scenes * self.expressions

    def record(self, scene: int) -> SceneRecord:
        """Return the scene with an index in [0, ``scenes``)."""
        return SceneRecord(self.split, scene, self.seed, self.image_size)

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
        words, kind, (row,) = labels.expressions[position]
        image = _image_of(record, labels.size)
        query = Query(image, words, f"{image.key}/{opaque(words)}")
        ann_id = image_id * MAX_THINGS_PER_IMAGE + labels.numbers[row]
        sent_id = image_id * MAX_EXPRESSIONS_PER_IMAGE + position
        box = np.array(labels.boxes[row], dtype=np.float32)
        return Sample(query, box, labels.kinds[row], ann_id, ann_id, sent_id, image_id, self.split, kind)

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


def open_refscenes(name: str, split: str, root: str | None = None, **options: int) -> RefScenes:
    """Open RefScenes, which is drawn, not read; this is the registry's factory.

    Args:
        name: ``refscenes``.
        split: a key of :data:`~vg_gym.data.worlds.refscenes.demands.SPLITS`.
        root: must be None.
        **options: ``scenes``, ``seed``, ``image_size``.

    Raises:
        VGGymError: a root was given, or an option is unknown.
    """
    if root is not None:
        raise VGGymError(f"{name} is drawn, not read: leave root={root!r} out (or name a data set that is on disk)")
    names = {"scenes", "seed", "image_size"}
    if not set(options) <= names:
        raise VGGymError(f"{name}: unknown options {sorted(set(options) - names)}; known: {', '.join(sorted(names))}")
    return RefScenes(split, **options)
