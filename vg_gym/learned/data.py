"""Training batches of grounders: pictures with several of their expressions, some of them mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.model import GroundingModel
from vg_gym.types import GroundingDataset, ImageRef, VGGymError

_SIDES = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}


def mirror_words(expression: str) -> str:
    """The expression for the mirrored picture: every left becomes right and the other way round.

    >>> mirror_words("the leftmost star right of the ring")
    'the rightmost star left of the ring'
    """
    return re.sub(rf"\b({'|'.join(_SIDES)})\b", lambda m: _SIDES[m.group().lower()], expression, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Picture:
    """A picture with its expressions; ``boxes`` (K, 4) ``xyxy`` normalised."""

    image: ImageRef
    expressions: tuple[str, ...]
    boxes: np.ndarray


def pictures(dataset: GroundingDataset, limit: int | None = None) -> list[Picture]:
    """The pictures of a data set with all their expressions.

    Args:
        dataset: what to read.
        limit: the first so many pictures.

    Raises:
        VGGymError: the data set is empty.
    """
    found: dict[int, list] = {}
    label = f"{dataset.name}/{dataset.split}"
    for row in tqdm(range(len(dataset)), desc=label, unit="expression", mininterval=2):
        sample = dataset[row]
        if limit is not None and sample.image_id not in found and len(found) == limit:
            break  # expressions of a picture follow each other
        found.setdefault(sample.image_id, []).append(sample)
    if not found:
        raise VGGymError(f"{label} has no expressions to train on")
    return [
        Picture(
            group[0].query.image,
            tuple(s.query.expression for s in group),
            np.stack([box_ops.normalize(s.box, s.query.image.size) for s in group]),
        )
        for group in found.values()
    ]


class GroundingBatches:
    """Batches by step, a pure function of it.

    Args:
        train: pictures.
        canvas: of the network.
        tokenize: of the network.
        images: pictures a batch.
        expressions: most expressions of each.
        flip: mirror half of the pictures, and their words.
        keep: keep decoded pictures in memory.
        seed: of everything drawn.
    """

    def __init__(
        self, train: Sequence[Picture], model: GroundingModel, images: int, expressions: int,
        flip: bool = True, keep: bool = False, seed: int = 0,
    ):  # fmt: skip
        self.train, self.images, self.expressions = train, images, expressions
        self.canvas: Canvas = model.canvas
        self.tokenize, self.flip, self.keep, self.seed = model.tokenize, flip, keep, seed
        self._pixels: dict[str, np.ndarray] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of a step; every picture comes once an epoch."""
        rng = np.random.default_rng([self.seed, step])
        pixels, texts, boxes, image_of = [], [], [], []
        for row, index in enumerate(self._rows(step)):
            picture = self.train[index]
            mirrored = self.flip and rng.random() < 0.5
            image = self._array(picture.image)
            pixels.append(image[:, ::-1] if mirrored else image)
            for k in rng.permutation(len(picture.expressions))[: self.expressions]:
                text, box = picture.expressions[k], picture.boxes[k]
                texts.append(mirror_words(text) if mirrored else text)
                boxes.append(np.array([1 - box[2], box[1], 1 - box[0], box[3]], np.float32) if mirrored else box)
                image_of.append(row)
        placed = self.canvas.place(pixels)
        return Batch(*placed, torch.tensor(image_of), self.tokenize(texts), torch.from_numpy(np.stack(boxes)))

    def _rows(self, step: int) -> list[int]:
        """The pictures of a step: a new random order every epoch."""
        count = len(self.train)
        places = range(step * self.images, (step + 1) * self.images)
        return [int(_order(self.seed, place // count, count)[place % count]) for place in places]

    def _array(self, image: ImageRef) -> np.ndarray:
        if not self.keep:
            return image.array()
        if image.key not in self._pixels:
            self._pixels[image.key] = image.array()
        return self._pixels[image.key]


_ORDERS: dict[tuple[int, int, int], np.ndarray] = {}


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of an epoch's pictures; the last two are remembered."""
    key = (seed, epoch, count)
    if key not in _ORDERS:
        while len(_ORDERS) > 1:
            _ORDERS.pop(next(iter(_ORDERS)))
        _ORDERS[key] = np.random.default_rng([seed, epoch, 1]).permutation(count)
    return _ORDERS[key]
