"""Flat scenes out of a user's cut-outs as a data set: ``refscenes`` with the option ``compose=FOLDER``.

A sample is a pure function of the cut-outs and (split, index, seed, image size). All splits show the same cut-outs, in
different scenes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vg_gym.data.opaque import opaque, seal, unseal
from vg_gym.data.worlds.cutouts.collage import Collage, draw_collage, graph_of_collage, sample_collage, segments_of
from vg_gym.data.worlds.cutouts.pieces import Cutouts, read_cutouts
from vg_gym.data.worlds.refscenes.language import sample_of_graph
from vg_gym.data.worlds.refscenes.raster import boxes_of
from vg_gym.errors import VGGymError, unknown_split
from vg_gym.storage.lazy_sequence import IndexedSequence
from vg_gym.types import ArrayLike, Objects, Query, Sample

SPLITS = {"train": 2000, "val": 500, "test": 500}
"""Split -> default number of scenes."""
EXPRESSIONS = 4
"""Number of expressions of each scene."""
KINDS = ("attribute", "place", "ordinal", "depth", "size", "relation", "two-hop")
"""Kinds of expressions that need no colours, parts or poses; the first says the noun alone."""
ATTEMPTS = 400
"""Maximum number of scenes that are tried until one admits all expressions."""
MIN_OBJECT_AREA = 0.001
"""Smallest box of an annotated object, as a fraction of the picture."""
MIN_TARGET_AREA = 0.02
"""Smallest box of a target, as a fraction of the picture."""
IMAGES_PER_SPLIT = 10_000_000
"""Distance between the image numbers of two splits."""
MAX_SCENES_IN_MEMORY = 4096
"""Number of scenes whose labels stay in memory, about 5 KB each."""
_FIELDS = struct.Struct(">BxHIQ")
"""Split, image size, index and seed of a scene in its sealed key."""


@dataclass(frozen=True)
class SceneRecord:
    """Identity of a scene."""

    folder: str
    """Folder of the cut-outs."""
    fingerprint: str
    """Hash of the cut-outs."""
    split: str
    """A key of :data:`SPLITS`."""
    index: int
    """Number of the scene in its split."""
    seed: int
    """Seed of the data set."""
    image_size: int
    """Long side of the picture in pixels."""

    @property
    def image_id(self) -> int:
        """Number of the image, unique over splits."""
        return list(SPLITS).index(self.split) * IMAGES_PER_SPLIT + self.index

    @property
    def cutouts(self) -> Cutouts:
        """The cut-outs.

        Raises:
            VGGymError: the folder has other cut-outs than those that the record was made with.
        """
        cutouts = read_cutouts(self.folder)
        if cutouts.fingerprint != self.fingerprint:
            raise VGGymError(f"compose={self.folder}: its cut-outs have changed; open the data set again")
        return cutouts


@dataclass(frozen=True)
class Labels:
    """Annotations of a scene."""

    collage: Collage
    numbers: tuple[int, ...]
    """Numbers of the annotated objects among the things of the scene."""
    nouns: tuple[str, ...]
    """Their nouns."""
    boxes: np.ndarray
    """Their boxes in pixels, float32 (N, 4)."""
    expressions: tuple[tuple[str, str, int], ...]
    """Text, kind and target of each expression; targets are places in ``nouns``."""


@lru_cache(MAX_SCENES_IN_MEMORY)
def labels_of(record: SceneRecord) -> Labels:
    """Compose scenes until one admits all expressions.

    Raises:
        VGGymError: none of many scenes does.
    """
    cutouts, name = record.cutouts, zlib.crc32(f"cutouts {record.split}".encode())
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng([name, record.seed, record.index, attempt])
        collage = sample_collage(rng, cutouts, record.image_size)
        segments, visible = segments_of(collage, cutouts)
        boxes = boxes_of(segments, len(collage.things))
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) / segments.size
        graph = graph_of_collage(collage, cutouts, boxes, visible)
        targets = [i for i in graph.targets if areas[i] >= MIN_TARGET_AREA]
        expressions = sample_of_graph(graph, rng, EXPRESSIONS, KINDS, among=targets)
        if len(expressions) == EXPRESSIONS:
            numbers = np.flatnonzero(areas >= MIN_OBJECT_AREA).tolist()
            nouns = tuple(cutouts.pieces[collage.things[i].number].noun for i in numbers)
            texts = tuple((e.text, e.kind, numbers.index(e.targets[0])) for e in expressions)
            return Labels(collage, tuple(numbers), nouns, boxes[numbers], texts)
    raise VGGymError(
        f"compose={record.folder}: none of {ATTEMPTS} scenes admits {EXPRESSIONS} expressions; add cut-outs and nouns"
    )


@dataclass(frozen=True)
class ComposedImage(ArrayLike):
    """The picture of a scene, composed when its pixels are requested; implements :class:`vg_gym.types.ImageRef`.

    The scene cannot be reached from it: this module reads the number of the scene from the sealed key.
    """

    key: str
    """Identity of the pixels."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    folder: str
    """Folder of the cut-outs."""

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3)."""
        record = _record_of(self)
        return draw_collage(labels_of(record).collage, record.cutouts)


def _image_of(record: SceneRecord, size: tuple[int, int]) -> ComposedImage:
    fields = _FIELDS.pack(list(SPLITS).index(record.split), record.image_size, record.index, record.seed)
    return ComposedImage(f"cutouts-{record.fingerprint}/{seal(fields)}", size, record.folder)


def _record_of(image: ComposedImage) -> SceneRecord:
    """Return the scene that the key of an image seals."""
    name, _, sealed = image.key.partition("/")
    split, image_size, index, seed = _FIELDS.unpack(unseal(sealed))
    return SceneRecord(image.folder, name.removeprefix("cutouts-"), list(SPLITS)[split], index, seed, image_size)


class ComposedScenes(IndexedSequence[Sample]):
    """A split of flat scenes out of the cut-outs of a folder, with four expressions for each scene.

    Args:
        folder: folder of PNG files with alpha, each named by the noun of what it shows; see
            :func:`~vg_gym.data.worlds.cutouts.pieces.read_cutouts`.
        split: ``train``, ``val`` or ``test``.
        scenes: number of scenes; by default that of :data:`SPLITS`.
        seed: seed of the scenes; another seed gives another data set.
        image_size: long side of the pictures in pixels, 128 to 640.

    Raises:
        VGGymError: the folder lacks usable cut-outs, the split is unknown, or a number is out of range.
    """

    name = "refscenes"

    def __init__(self, folder: str, split: str, scenes: int | None = None, seed: int = 0, image_size: int = 256):
        if split not in SPLITS:
            raise unknown_split(f"compose={folder}", split, SPLITS)
        if scenes is not None and not 1 <= scenes <= IMAGES_PER_SPLIT:
            raise VGGymError(f"compose={folder}: scenes={scenes} must be in [1, {IMAGES_PER_SPLIT}]")
        if not 128 <= image_size <= 640 or not 0 <= seed < 2**64:
            raise VGGymError(
                f"compose={folder}: image_size={image_size} must be in [128, 640] and seed={seed} in [0, 2**64)"
            )
        self.folder, self.cutouts = folder, read_cutouts(folder)
        self.split, self.seed, self.image_size, self.scenes = split, seed, image_size, scenes or SPLITS[split]

    def __len__(self) -> int:
        """Return the number of samples (expressions)."""
        return self.scenes * EXPRESSIONS

    def record(self, scene: int) -> SceneRecord:
        """Return the scene with an index in [0, ``scenes``)."""
        return SceneRecord(self.folder, self.cutouts.fingerprint, self.split, scene, self.seed, self.image_size)

    def _item(self, number: int) -> Sample:
        scene, position = divmod(number, EXPRESSIONS)
        record = self.record(scene)
        labels, image_id = labels_of(record), record.image_id
        words, kind, row = labels.expressions[position]
        image = _image_of(record, (labels.collage.width, labels.collage.height))
        query = Query(image, words, f"{image.key}/{opaque(words)}")
        ann_id, sent_id = image_id * 100 + labels.numbers[row], image_id * 10 + position
        return Sample(query, labels.boxes[row], labels.nouns[row], ann_id, ann_id, sent_id, image_id, self.split, kind)

    def __iter__(self) -> Iterator[Sample]:
        """Iterate over all samples in order."""
        return (self[i] for i in range(len(self)))

    @property
    def categories(self) -> tuple[str, ...]:
        """Nouns of the cut-outs, sorted."""
        return self.cutouts.nouns

    def objects(self, image_id: int) -> Objects:
        """Return the annotated objects of an image: all but tiny ones."""
        labels = labels_of(self.record(image_id % IMAGES_PER_SPLIT))
        return Objects(labels.boxes, labels.nouns, tuple(image_id * 100 + number for number in labels.numbers))

    def segments(self, image_id: int) -> np.ndarray:
        """Return the object of each pixel of an image, uint8 (H, W): numbers from 1 as in :meth:`objects`."""
        labels = labels_of(self.record(image_id % IMAGES_PER_SPLIT))
        rows = np.zeros(256, np.uint8)
        rows[np.array(labels.numbers) + 1] = np.arange(1, len(labels.numbers) + 1)
        return rows[segments_of(labels.collage, self.cutouts)[0]]
