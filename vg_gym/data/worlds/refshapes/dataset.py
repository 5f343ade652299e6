"""RefShapes, the built-in data set: drawn scenes with unambiguous expressions, without a download.

A sample is a pure function of (name, split, index, seed). Every scene has exactly one expression of each of the four
kinds, so sample ``i`` is expression ``i % 4`` of scene ``i // 4``. Splits draw from different random streams and do not
share scenes.

A query contains neither the scene nor its number: a :class:`DrawnImage` has a sealed key and a size, and a query's key
is made only from that key and the words, so that it reveals nothing else.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vg_gym.data.opaque import opaque, seal, unseal
from vg_gym.data.worlds.refshapes.expressions import KINDS
from vg_gym.data.worlds.refshapes.scenes import ANY, LEVELS, SHAPES, Scene, draw_scene, scene_segments
from vg_gym.data.worlds.refshapes.sets import Reference, sample_pair, sample_references
from vg_gym.errors import VGGymError, unknown_split
from vg_gym.storage.lazy_sequence import IndexedSequence
from vg_gym.types import ArrayLike, Objects, Query, Sample

SPLITS = {"train": 20_000, "val": 500, "test": 500}
"""Split -> default number of scenes; each has four samples."""
MAX_CACHED_SCENES = 2**15
"""Maximum number of cached scenes, 5 KB each: more than all splits have, since a smaller cache never hits in a pass."""
MAX_ATTEMPTS = 1000
"""Maximum number of scenes that are drawn for a record until one admits its expressions."""
NO_OBJECT = 9
"""Last digit of the annotation id of an expression that means nothing."""
_IMAGE_ID_BASE = {"train": 0, "val": 10_000_000, "test": 20_000_000}
_NAMES, _SPLITS = tuple(LEVELS), tuple(SPLITS)
_FIELDS = struct.Struct(">BBHIQ")
"""Name, split, image size, index and seed of a scene in its sealed key."""


@dataclass(frozen=True)
class SceneRecord:
    """One scene of a data set with its objects, expressions and pixels, a pure function of these five fields."""

    name: str
    """Data set, a key of :data:`vg_gym.data.worlds.refshapes.scenes.LEVELS`."""
    split: str
    """``train``, ``val`` or ``test``."""
    index: int
    """Number of the scene in its split."""
    seed: int
    """Seed of the data set."""
    image_size: int
    """Side of the square image in pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image_size, self.image_size

    @property
    def image_id(self) -> int:
        """Number of the image, unique over splits."""
        return _IMAGE_ID_BASE[self.split] + self.index

    def rng(self, purpose: str, attempt: int = 0) -> np.random.Generator:
        """Return a random generator for this scene and purpose only."""
        words = (self.name, self.split, purpose)
        return np.random.default_rng([*(zlib.crc32(w.encode()) for w in words), self.seed, self.index, attempt])

    def scene(self) -> Scene:
        """Return the objects and their attributes."""
        return _compose(self)[0]

    def references(self) -> list[Reference]:
        """Return four references: one of each kind in the order of ``KINDS``, or those of ``refshapes-any``."""
        return _compose(self)[1]

    def boxes(self) -> np.ndarray:
        """Return the boxes of all objects, float32 (N, 4) ``xyxy`` pixels."""
        return np.array([item.box for item in self.scene()], dtype=np.float32) * self.image_size

    def array(self) -> np.ndarray:
        """Draw the image, uint8 RGB (S, S, 3)."""
        rng = (_pair_of(self) if self.name == ANY else self).rng("pixels")
        return draw_scene(self.scene(), rng, self.image_size, LEVELS[self.name].texture)


def _pair_of(record: SceneRecord) -> SceneRecord:
    """Return the record of the pair that a scene of ``refshapes-any`` belongs to."""
    return replace(record, index=record.index // 2)


@dataclass(frozen=True)
class DrawnImage(ArrayLike):
    """The image of a scene, drawn whenever its pixels are requested; implements :class:`vg_gym.types.ImageRef`.

    The scene cannot be reached from it: this module composes the scene from the sealed key.
    """

    key: str
    """Identity of the pixels."""
    size: tuple[int, int]
    """(width, height) in pixels."""

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3)."""
        return _record_of(self.key).array()


@lru_cache(MAX_CACHED_SCENES)
def _image_of(record: SceneRecord) -> DrawnImage:
    """Return the image of a scene."""
    name, split = _NAMES.index(record.name), _SPLITS.index(record.split)
    fields = _FIELDS.pack(name, split, record.image_size, record.index, record.seed)
    return DrawnImage(f"{record.name}/{seal(fields)}", record.size)


def _record_of(key: str) -> SceneRecord:
    """Return the scene that the key of an image seals."""
    name, split, image_size, index, seed = _FIELDS.unpack(unseal(key.rpartition("/")[2]))
    return SceneRecord(_NAMES[name], _SPLITS[split], index, seed, image_size)


@lru_cache(MAX_CACHED_SCENES)
def _compose(record: SceneRecord) -> tuple[Scene, list[Reference]]:
    """Draw scenes until one admits an expression of every kind."""
    if record.name == ANY:
        return _compose_pair(_pair_of(record))[record.index % 2]
    for attempt in range(MAX_ATTEMPTS):
        rng = record.rng("scene", attempt)
        composed = sample_references(rng, LEVELS[record.name], biased=record.split != "test")
        if composed is not None:
            return composed
    raise RuntimeError(f"no scene with all kinds of expression for {record}")


@lru_cache(MAX_CACHED_SCENES)
def _compose_pair(record: SceneRecord) -> tuple[tuple[Scene, list[Reference]], ...]:
    """Draw pairs of scenes until one admits all expressions."""
    for attempt in range(MAX_ATTEMPTS):
        pair = sample_pair(record.rng("scene", attempt), LEVELS[record.name])
        if pair is not None:
            return pair
    raise RuntimeError(f"no pair of scenes with all kinds of expression for {record}")


class RefShapes(IndexedSequence[Sample]):
    """A split of RefShapes: four samples per scene, one of each kind of expression.

    Args:
        name: ``refshapes``, ``-easy``, ``-hard`` or ``-biased``
            (see :data:`~vg_gym.data.worlds.refshapes.scenes.LEVELS`).
        split: ``train``, ``val`` or ``test``.
        scenes: number of scenes; by default that of :data:`SPLITS`.
        seed: seed of the scenes; another seed gives another data set.
        image_size: side of the square images in pixels, at least 64.

    Raises:
        VGGymError: the level or the split is unknown, or a number is too small.
    """

    def __init__(self, name: str, split: str, scenes: int | None = None, seed: int = 0, image_size: int = 128):
        if name not in LEVELS:
            raise VGGymError(f"unknown RefShapes level {name!r}; known: {', '.join(LEVELS)}")
        if split not in SPLITS:
            raise unknown_split(name, split, SPLITS)
        if scenes is not None and scenes < 1 or image_size < 64:
            raise VGGymError(f"{name}: scenes={scenes} must be >= 1 and image_size={image_size} >= 64")
        if not (0 <= seed < 2**64 and image_size < 2**16):
            raise VGGymError(f"{name}: seed={seed} must be in [0, 2**64) and image_size={image_size} < 2**16")
        self.name, self.split, self.seed, self.image_size = name, split, seed, image_size
        self.scenes = scenes or SPLITS[split]

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return self.scenes * len(KINDS)

    def record(self, scene: int) -> SceneRecord:
        """Return the scene with an index in [0, ``scenes``)."""
        return SceneRecord(self.name, self.split, scene, self.seed, self.image_size)

    def _item(self, number: int) -> Sample:
        scene, position = divmod(number, len(KINDS))
        return self._sample(self.record(scene), position)

    def _sample(self, record: SceneRecord, position: int) -> Sample:
        scene, references = _compose(record)
        reference, image_id, image = references[position], record.image_id, _image_of(record)
        query = Query(image, reference.text, f"{image.key}/{opaque(reference.text)}")
        boxes = record.boxes()[list(reference.targets)]
        first = min(reference.targets, default=NO_OBJECT)
        category = scene[first].shape if reference.targets else ""
        ann_id, sent_id = image_id * 10 + first, image_id * len(KINDS) + position
        return Sample(query, boxes, category, ann_id, ann_id, sent_id, image_id, self.split, reference.kind)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over all samples in order."""
        return (self[i] for i in range(len(self)))

    def means_one(self) -> np.ndarray:
        """Return which samples have one box, bool (N,)."""
        singles = [True, True, False, False] if self.name == ANY else [True] * len(KINDS)
        return np.tile(np.array(singles), self.scenes)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the shapes."""
        return SHAPES

    def objects(self, image_id: int) -> Objects:
        """Return all objects of an image."""
        record = self.record(image_id - _IMAGE_ID_BASE[self.split])
        ann_ids = tuple(image_id * 10 + i for i in range(len(record.scene())))
        return Objects(record.boxes(), tuple(item.shape for item in record.scene()), ann_ids)

    def prior_agrees(self, sample: Sample) -> bool | None:
        """Return whether the target lies where ``refshapes-biased`` puts its shape in training.

        The result is None if the data set is not biased or the shape lacks a home. It is ground truth for the
        evaluator's probe.
        """
        if not LEVELS[self.name].bias:
            return None
        record = self.record(sample.image_id - _IMAGE_ID_BASE[self.split])
        return record.scene()[sample.ann_id - sample.image_id * 10].agrees

    def segments(self, image_id: int) -> np.ndarray:
        """Return the object of each pixel of an image, uint8 (S, S): numbers from 1 as in :meth:`objects`."""
        record = self.record(image_id - _IMAGE_ID_BASE[self.split])
        return scene_segments(record.scene(), self.image_size)


def open_refshapes(name: str, split: str, root: str | None = None, **options: int) -> RefShapes:
    """Open RefShapes, which is drawn, not read; this is the registry's factory.

    Args:
        name: ``refshapes`` or one of its variants.
        split: ``train``, ``val`` or ``test``.
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
    return RefShapes(name, split, **options)
