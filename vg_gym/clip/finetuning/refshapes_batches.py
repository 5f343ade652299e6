"""Batches from RefShapes, whose expressions can be evaluated: more expressions, and correct matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vg_gym.clip.finetuning.box_text_batches import UNKNOWN, Batch, DatasetBatches
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import ANY_SHAPE, Expression, sample_expressions
from vg_gym.data.worlds.refshapes.scenes import Scene


@dataclass
class _Text:
    image: int
    target: int
    expression: Expression


class RefShapesBatches(DatasetBatches):
    """Batches like :class:`DatasetBatches`, with new expressions of every kind and without false negatives.

    An expression does not match an object, in any image, if its noun phrase does not fit the object. It matches if it
    uses only attributes and they fit. It is unknown whether "the leftmost star" fits a star of another image.
    """

    dataset: RefShapes
    PER_KIND = {"attribute": 2, "location": 2, "size": 2, "relation": 3}

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        records = [self.dataset.record(int(i)) for i in rng.integers(self.dataset.scenes, size=self.images)]
        scenes = [record.scene() for record in records]
        texts = [
            _Text(image, target, expression)
            for image, scene in enumerate(scenes)
            for kind, count in self.PER_KIND.items()
            for target, expression in sample_expressions(scene, kind, rng, count)
        ]
        boxes = [np.array([item.box for item in scene], dtype=np.float32) for scene in scenes]
        by_appearance = np.array([text.expression.kind == "attribute" for text in texts])
        pairs = [(text.image, text.target) for text in texts]
        arrays = [record.array() for record in records]
        words = [text.expression.text for text in texts]
        words = self._mirror(rng, arrays, boxes, words, [text.image for text in texts])
        match = self._matches(texts, scenes, by_appearance)
        return self._assemble(rng, arrays, boxes, words, pairs, match, by_appearance)

    def _matches(self, texts: list[_Text], scenes: list[Scene], by_appearance: np.ndarray) -> np.ndarray:
        fits = _fits(texts, scenes, self.max_objects)
        match = np.where(fits, np.where(by_appearance[:, None, None], 1, UNKNOWN), 0).astype(np.int8)
        for row, text in enumerate(texts):
            match[row, text.image] = 0  # within its image an expression refers to one object
            match[row, text.image, text.target] = 1
        return match


def _fits(texts: list[_Text], scenes: list[Scene], count: int) -> np.ndarray:
    """Return where the head of a text, including its size word, fits an object, bool (T, I, N)."""
    fields = ("shape", "color", "fill", "size")
    items = np.full((len(scenes), count, len(fields)), "", dtype=object)
    for i, scene in enumerate(scenes):
        for j, item in enumerate(scene):
            items[i, j] = [getattr(item, f) for f in fields]
    heads = [[getattr(t.expression.head, f) for f in fields] for t in texts]
    head_fields = np.array([["*" if w in (None, ANY_SHAPE) else w for w in head] for head in heads], dtype=object)
    head_fields = head_fields[:, None, None, :]
    return ((items[None] == head_fields) | (head_fields == "*")).all(axis=-1) & (items[None, ..., 0] != "")
