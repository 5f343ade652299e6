"""Further expressions of the scenes of RefScenes, for trainings that need more words than pictures.

A scene is drawn with four expressions. Features of pictures take far longer to compute than those of words, so that
more expressions of the same pictures are the cheapest way to more training data. They are found as the first four are,
four at a time, and only need texts of their own: the same thing may be meant twice, in other words. In
``refscenes-any`` a text may even come again, so that as many mean nothing or several things as in the first four.

They are stored in the cache folder, in a file for each :data:`SCENES_PER_FILE` scenes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from vg_gym.data.worlds.refscenes.chunks import labels_of
from vg_gym.data.worlds.refscenes.demands import NAME, SPLITS
from vg_gym.data.worlds.refscenes.graph import Graph, graph_of
from vg_gym.data.worlds.refscenes.language import MANY, NONE, NONE_OF_MANY, ONE, Expression, sample_of_graph
from vg_gym.data.worlds.refscenes.records import (
    DRAWING,
    PLURAL_NONE_SHARE,
    Labels,
    SceneRecord,
    box_areas,
    eligible,
    scene_of,
)
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.data.worlds.refscenes.scene import Truth
from vg_gym.data.worlds.refscenes.typos import with_typos
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.storage.code import code_fingerprint
from vg_gym.storage.files import cache_place, go_on_without_cache, make_folder, write_json

MAX_EXPRESSIONS = 10
"""Largest number of expressions of a scene, with those that it is drawn with."""
ROUNDS = 6
"""Number of times that expressions are looked for; then those of the scene come again."""
SCENES_PER_FILE = 8
"""Number of scenes whose expressions are in one file."""
MAX_FILES_IN_MEMORY = 2048
"""Number of files whose expressions stay in memory, about 10 KB each."""
WORDS = code_fingerprint([Path(__file__)], DRAWING)[:12]
"""Hash of all code that decides the words."""

Worded = tuple[str, str, tuple[int, ...]]
"""Text, kind and targets of an expression; targets are places among the annotated objects."""


def expressions_of(record: SceneRecord, labels: Labels, count: int) -> tuple[Worded, ...]:
    """Return the first ``count`` expressions of a scene, at most :data:`MAX_EXPRESSIONS`; the first are those drawn.

    Args:
        record: identity of the scene.
        labels: its annotations.
        count: number of expressions.

    Raises:
        VGGymError: a file in the cache folder is damaged.
    """
    drawn = labels.expressions
    if count <= len(drawn):
        return drawn[:count]
    file, place = divmod(record.index, SCENES_PER_FILE)
    return (*drawn, *_further(replace(record, index=file * SCENES_PER_FILE))[place])[:count]


@lru_cache(MAX_FILES_IN_MEMORY)
def _further(first: SceneRecord) -> tuple[tuple[Worded, ...], ...]:
    """Return the further expressions of the scenes of a file, whose first scene is given."""
    folder = cache_place(first.name, DRAWING, f"{first.split}-s{first.seed}-{first.image_size}px", f"words-{WORDS}")
    path = folder / f"{first.index // SCENES_PER_FILE:07d}.json"
    if path.exists():
        return _read(path)
    scenes = tuple(_find(replace(first, index=first.index + place)) for place in range(SCENES_PER_FILE))
    try:
        make_folder(folder)
        write_json(path, scenes)
    except CannotWrite as error:
        go_on_without_cache(error)
    return scenes


def _find(record: SceneRecord) -> tuple[Worded, ...]:
    """Find the further expressions of a scene; where it admits too few, its expressions come again."""
    labels, split = labels_of(record), SPLITS[record.split]
    scene = scene_of(record, labels.attempt)
    truth = truth_alone(scene)
    graph, among = graph_of(scene, truth), eligible(record, scene, truth)
    rng = record.rng("further words", labels.attempt)
    rows = {number: row for row, number in enumerate(labels.numbers)}
    expressions = list(labels.expressions)
    for _ in range(ROUNDS):
        for each in _round(record, graph, truth, among, rng):
            text = with_typos(each.text, rng) if split.typos else each.text
            if record.name != NAME or text not in {other for other, *_ in expressions}:
                expressions.append((text, each.kind, tuple(rows[i] for i in each.targets)))
        if len(expressions) >= MAX_EXPRESSIONS:
            break
    return tuple(expressions[i % len(expressions)] for i in range(len(labels.expressions), MAX_EXPRESSIONS))


def _round(
    record: SceneRecord, graph: Graph, truth: Truth, among: Sequence[int], rng: np.random.Generator
) -> Iterator[Expression]:
    """Yield up to four expressions that mean what those of a drawn scene mean."""
    split = SPLITS[record.split]
    if record.name == NAME:
        yield from sample_of_graph(graph, rng, record.expressions, split.kinds, split.new_words, among)
        return
    usable = [i for i in truth.targets.tolist() if box_areas(truth)[i] >= split.areas[0]]
    nothing = NONE_OF_MANY if rng.random() < PLURAL_NONE_SHARE else NONE
    demands = ((ONE, among), (ONE, among), (MANY, usable), (nothing, usable))
    for reference, things in (demands[i] for i in rng.permutation(len(demands))):
        yield from sample_of_graph(graph, rng, 1, split.kinds, split.new_words, things, reference)


def _read(path: Path) -> tuple[tuple[Worded, ...], ...]:
    try:
        scenes: Sequence = json.loads(path.read_text(encoding="utf-8"))
        read = tuple(
            tuple((str(text), str(kind), tuple(map(int, rows))) for text, kind, rows in each) for each in scenes
        )
        if len(read) != SCENES_PER_FILE:
            raise ValueError(f"{len(read)} scenes, expected {SCENES_PER_FILE}")
    except (OSError, ValueError, TypeError) as error:
        raise VGGymError(f"cannot read {path} ({error}); delete it, and its expressions are found again") from error
    return read
