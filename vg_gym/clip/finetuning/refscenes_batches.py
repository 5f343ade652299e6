"""Batches from RefScenes: expressions, and statements that mean one thing of their scene, with their matches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.finetuning.box_text_batches import UNKNOWN, Batch, DatasetBatches
from vg_gym.clip.finetuning.scene_statements import Statement, described
from vg_gym.data.mirroring import mirror_words
from vg_gym.data.worlds.refscenes.chunks import SCENES_PER_CHUNK, labels_of, pixels_of
from vg_gym.data.worlds.refscenes.graph import confused
from vg_gym.data.worlds.refscenes.kinds import KINDS
from vg_gym.data.worlds.refscenes.records import SceneRecord
from vg_gym.data.worlds.refscenes.samples import RefScenes

BY_APPEARANCE = frozenset({"attribute", "part", "action"})
"""Kinds of expressions that a crop of the object suffices to understand."""

FIRST_GROUPS = 100
"""Number of groups of eight scenes that the first step draws from."""


@dataclass(frozen=True)
class _Text:
    image: int
    target: int
    """Row of the thing in its scene."""
    words: str
    by_appearance: bool
    statement: Statement | None
    """The statement that the words are of; None for an expression."""


@dataclass(frozen=True)
class _Thing:
    kind: str
    sorts: tuple[str, ...]
    color: str


def records_of_batch(dataset: RefScenes, rng: np.random.Generator, step: int, count: int) -> list[SceneRecord]:
    """Return random scenes, in groups of neighbours as they are stored, so that few files are read.

    The first step draws from :data:`FIRST_GROUPS` groups, and every step from one more. So a training does not wait for
    all scenes to be drawn.

    Args:
        dataset: the training split.
        rng: random generator of the choice.
        step: number of the batch.
        count: number of scenes.
    """
    groups = min(-(-dataset.scenes // SCENES_PER_CHUNK), FIRST_GROUPS + step)
    first = rng.integers(groups, size=-(-count // SCENES_PER_CHUNK)) * SCENES_PER_CHUNK
    scenes = [scene + place for scene in first.tolist() for place in range(SCENES_PER_CHUNK)]
    return [dataset.record(scene % dataset.scenes) for scene in scenes[:count]]


class RefScenesBatches(DatasetBatches):
    """Batches like :class:`DatasetBatches` of what is known of drawn scenes; half of the pictures are mirrored.

    A text matches no thing of another kind, and no thing of clearly another colour if it says one. It is unknown
    whether "the dog behind the chair" fits a dog of another picture.
    """

    dataset: RefScenes

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        records = records_of_batch(self.dataset, rng, step, self.images)
        mirrored = rng.random(len(records)) < 0.5
        arrays, boxes, things, texts = [], [], [], []
        for image, (record, mirror) in enumerate(zip(records, mirrored, strict=True)):
            texts_of_image, order = self._texts(record, image, rng)
            pixels, boxes_of_image = pixels_of(record), _boxes(record)[order]
            arrays.append(np.ascontiguousarray(pixels[:, ::-1]) if mirror else pixels)
            boxes.append(box_ops.mirror(boxes_of_image) if mirror else boxes_of_image)
            things.append([_things(record)[row] for row in order])
            texts += [(text, order.index(text.target)) for text in texts_of_image]
        words = [mirror_words(text.words) if mirrored[text.image] else text.words for text, _ in texts]
        pairs = [(text.image, place) for text, place in texts]
        by_appearance = np.array([text.by_appearance for text, _ in texts])
        return self._assemble(rng, arrays, boxes, words, pairs, self._matches(texts, things), by_appearance)

    def _texts(self, record: SceneRecord, image: int, rng: np.random.Generator) -> tuple[list[_Text], list[int]]:
        """Return texts of a scene, and the rows of its things, those with texts first."""
        everything = list(_texts_of(record, image))
        texts = [everything[i] for i in rng.permutation(len(everything))[: self.texts]]
        targets = {text.target for text in texts}
        order = sorted(range(len(labels_of(record).kinds)), key=lambda row: row not in targets)[: self.max_objects]
        return [text for text in texts if text.target in order], order

    def _matches(self, texts: list[tuple[_Text, int]], things: list[list[_Thing]]) -> np.ndarray:
        """Return ``match``; within its image a text refers to one thing."""
        match = np.zeros((len(texts), len(things), self.max_objects), dtype=np.int8)
        for row, (text, place) in enumerate(texts):
            target = things[text.image][place]
            for image, others in enumerate(things):
                if image != text.image:
                    match[row, image, : len(others)] = [_match(text.statement, target, other) for other in others]
            match[row, text.image, place] = 1
        return match


def _texts_of(record: SceneRecord, image: int) -> Iterator[_Text]:
    """Yield the expressions of a scene that mean one thing, and the statements that do."""
    things = _things(record)
    for words, kind, targets in labels_of(record).expressions:
        if len(targets) == 1:
            yield _Text(image, targets[0], words, kind in BY_APPEARANCE, None)
    for statement in described(record).statements:
        target = statement.things[0]
        if all(row == target or _match(statement, things[target], thing) == 0 for row, thing in enumerate(things)):
            yield _Text(image, target, statement.text, len(statement.things) == 1, statement)


def _match(statement: Statement | None, target: _Thing, other: _Thing) -> int:
    """Return whether a text about one thing fits another: 1, 0 or unknown; None stands for an expression."""
    if statement is None:
        near = KINDS[target.kind].supercategory == KINDS[other.kind].supercategory
        return UNKNOWN if near else 0
    if statement.sort not in other.sorts or statement.color and not confused(statement.color, other.color):
        return 0
    return 1 if statement.by_look and statement.color in ("", other.color) else UNKNOWN


def _boxes(record: SceneRecord) -> np.ndarray:
    labels = labels_of(record)
    return box_ops.normalize(np.array(labels.boxes, dtype=np.float32), labels.size)


def _things(record: SceneRecord) -> list[_Thing]:
    """Return what is known of the annotated things of a scene."""
    description = described(record)
    return [_Thing(*row) for row in zip(labels_of(record).kinds, description.sorts, description.colors, strict=True)]
