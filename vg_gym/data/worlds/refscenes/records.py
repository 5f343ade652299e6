"""One scene of RefScenes with its expressions and its JPEG file, a pure function of its record."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL

from vg_gym.data.worlds.refscenes.composition import compose
from vg_gym.data.worlds.refscenes.demands import ANY_EXPRESSIONS, NAME, SPLITS, USUAL_AREAS
from vg_gym.data.worlds.refscenes.kinds import is_held_out
from vg_gym.data.worlds.refscenes.language import MANY, NONE, NONE_OF_MANY, ONE, Expression, sample_expressions
from vg_gym.data.worlds.refscenes.photometry import develop
from vg_gym.data.worlds.refscenes.renderer import render, truth_alone
from vg_gym.data.worlds.refscenes.scene import Scene, Truth
from vg_gym.data.worlds.refscenes.typos import with_typos
from vg_gym.storage.code import code_fingerprint

ATTEMPTS = 400
"""Maximum number of scenes that are tried until one admits all expressions."""
MIN_OBJECT_AREA = 0.001
"""Smallest box of an annotated object, as a fraction of the picture."""
ALWAYS_ACCEPTED_AREA = 0.3
"""Mean area of the boxes that may be targets, as a fraction of the picture, from which a scene is always used."""
MIN_ELIGIBLE = 2
"""Smallest number of things that may be targets in a scene of a usual split."""
PLURAL_NONE_SHARE = 1 / 3
"""Share of plurals among the expressions that mean nothing, as among those that mean something."""
IMAGES_PER_SPLIT = 10_000_000
"""Distance between the image numbers of two splits."""
OPENING = "samples.py"
"""File of this folder that decides neither pixels nor words."""
DRAWING = code_fingerprint(
    (path for path in Path(__file__).parent.glob("*.py") if path.name != OPENING), PIL.__version__
)[:12]
"""Hash of all code that decides the pixels and the words of a scene, besides its record."""


@dataclass(frozen=True)
class SceneRecord:
    """Identity of a scene."""

    split: str
    """A key of :data:`~vg_gym.data.worlds.refscenes.demands.SPLITS`."""
    index: int
    """Number of the scene in its split."""
    seed: int
    """Seed of the data set."""
    image_size: int
    """Long side of the picture in pixels."""
    name: str = NAME
    """Name of the data set."""

    @property
    def expressions(self) -> int:
        """Number of expressions of the scene."""
        return SPLITS[self.split].expressions if self.name == NAME else ANY_EXPRESSIONS

    @property
    def image_id(self) -> int:
        """Number of the image, unique over splits."""
        return list(SPLITS).index(self.split) * IMAGES_PER_SPLIT + self.index

    def rng(self, purpose: str, attempt: int) -> np.random.Generator:
        """Return a random generator for one purpose in one attempt at this scene."""
        words = (zlib.crc32(f"{self.name} {word}".encode()) for word in (self.split, purpose))
        return np.random.default_rng([*words, self.seed, self.index, attempt])


@dataclass(frozen=True)
class Labels:
    """Annotations of a drawn scene."""

    size: tuple[int, int]
    """(width, height) in pixels."""
    attempt: int
    """Attempt in which the scene was composed."""
    kinds: tuple[str, ...]
    """Kinds of the annotated objects."""
    numbers: tuple[int, ...]
    """Their indices among the things of the scene."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """Their boxes in pixels."""
    expressions: tuple[tuple[str, str, tuple[int, ...]], ...]
    """Text, kind and targets of each expression; targets are places in ``kinds``."""


def scene_of(record: SceneRecord, attempt: int) -> Scene:
    """Return the scene that an attempt composes."""
    return compose(record.rng("scene", attempt), SPLITS[record.split].demand, record.image_size)


def draw(record: SceneRecord) -> tuple[bytes, Labels]:
    """Compose scenes until one admits all expressions of its split, and return its JPEG file and its labels.

    Raises:
        RuntimeError: none of many scenes does.
    """
    split = SPLITS[record.split]
    for attempt in range(ATTEMPTS):
        scene = scene_of(record, attempt)
        truth = truth_alone(scene)
        rng = record.rng("words", attempt)
        expressions = worded(record, scene, truth, rng)
        if expressions:
            file = develop(render(scene)[0], scene.photometry, record.rng("pixels", attempt))
            numbers = annotated(truth)
            rows = {number: row for row, number in enumerate(numbers)}
            texts = [with_typos(e.text, rng) if split.typos else e.text for e in expressions]
            return file, Labels(
                (scene.width, scene.height),
                attempt,
                tuple(scene.things[i].kind for i in numbers),
                numbers,
                tuple(tuple(truth.boxes[i].tolist()) for i in numbers),
                tuple(
                    (text, e.kind, tuple(rows[i] for i in e.targets))
                    for text, e in zip(texts, expressions, strict=True)
                ),
            )
    raise RuntimeError(f"no scene of {record} admits {record.expressions} expressions in {ATTEMPTS} attempts")


def worded(record: SceneRecord, scene: Scene, truth: Truth, rng: np.random.Generator) -> list[Expression]:
    """Return the expressions of a scene; empty if the scene is not used or does not admit all.

    Args:
        record: identity of the scene.
        scene: the scene.
        truth: what its picture shows.
        rng: random generator of the choice and of the words.
    """
    split, among = SPLITS[record.split], eligible(record, scene, truth)
    if not is_accepted(record, truth, among, rng):
        return []
    if record.name == NAME:
        expressions = sample_expressions(scene, truth, rng, split.expressions, split.kinds, split.new_words, among)
    else:
        expressions = _of_any_number(record, scene, truth, among, rng)
    return expressions if len(expressions) == record.expressions else []


def _of_any_number(
    record: SceneRecord, scene: Scene, truth: Truth, among: list[int], rng: np.random.Generator
) -> list[Expression]:
    """Return expressions of ``refscenes-any``: two mean one thing, one means several, and one means nothing."""
    split = SPLITS[record.split]
    usable = [i for i in truth.targets.tolist() if box_areas(truth)[i] >= split.areas[0]]
    nothing = NONE_OF_MANY if rng.random() < PLURAL_NONE_SHARE else NONE
    expressions: list[Expression] = []
    for reference, count, things in ((ONE, 2, among), (MANY, 1, usable), (nothing, 1, usable)):
        expressions += sample_expressions(scene, truth, rng, count, split.kinds, split.new_words, things, reference)
    return [expressions[i] for i in rng.permutation(len(expressions))]


def box_areas(truth: Truth) -> np.ndarray:
    """Return the areas of all boxes as a fraction of the picture, float64 (N,)."""
    boxes = truth.boxes.astype(float)
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / truth.segments.size


def annotated(truth: Truth) -> tuple[int, ...]:
    """Return the indices of the things that are annotated."""
    return tuple(np.flatnonzero(box_areas(truth) >= MIN_OBJECT_AREA).tolist())


def eligible(record: SceneRecord, scene: Scene, truth: Truth) -> list[int]:
    """Return the indices of the things that may be targets in a split."""
    split, areas = SPLITS[record.split], box_areas(truth)
    fits = [i for i in truth.targets.tolist() if split.areas[0] <= areas[i] <= split.areas[1]]
    if split.demand.new_pairs:
        fits = [i for i in fits if is_held_out(scene.things[i].kind, scene.things[i].main.color)]
    return fits


def is_accepted(record: SceneRecord, truth: Truth, among: list[int], rng: np.random.Generator) -> bool:
    """Return whether a scene is used: those with small targets are so more rarely, as in photographs.

    Scenes are left out, not targets: within a picture all that may be meant is meant as often, whatever its size.

    Args:
        record: identity of the scene.
        truth: what its picture shows.
        among: indices of the things that may be targets.
        rng: random generator of the choice.
    """
    split = SPLITS[record.split]
    if split.areas != USUAL_AREAS:
        return True
    fewest = 1 if split.demand.new_pairs else MIN_ELIGIBLE
    return len(among) >= fewest and rng.random() < box_areas(truth)[among].mean() / ALWAYS_ACCEPTED_AREA
