"""Training batches of grounders: pictures with several of their expressions, some of them mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.model import GroundingModel
from vg_gym.storage.files import fingerprint
from vg_gym.storage.shards import ShardedArray, computed
from vg_gym.types import GroundingDataset, ImageRef

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
        limit: the first so many pictures; what follows the first expression of one more is not read.

    Raises:
        VGGymError: the data set is empty.
    """
    found: dict[int, list] = {}
    label = f"{dataset.name}/{dataset.split}"
    for row in tqdm(range(len(dataset)), desc=label, unit="expression", mininterval=2):
        sample = dataset[row]
        if limit is not None and sample.image_id not in found and len(found) == limit:
            break
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
        model: whose canvas and tokens they have; what it observes of a picture is computed once and kept on disk.
        images: pictures a batch.
        expressions: most expressions of each.
        flip: mirror half of the pictures, and their words.
        seed: of everything drawn.
    """

    def __init__(
        self, train: Sequence[Picture], model: GroundingModel, images: int, expressions: int,
        flip: bool = True, seed: int = 0,
    ):  # fmt: skip
        self.train, self.images, self.expressions, self.flip, self.seed = train, images, expressions, flip, seed
        self.canvas: Canvas = model.canvas
        self.tokenize = model.tokenize
        self.features = observed(model, train, flip)

    def __call__(self, step: int) -> Batch:
        """The batch of a step; every picture comes once an epoch."""
        rng = np.random.default_rng([self.seed, step])
        rows = self._rows(step)
        mirrored = rng.random(len(rows)) < 0.5 if self.flip else np.zeros(len(rows), dtype=bool)
        texts, boxes, image_of = [], [], []
        for row, index in enumerate(rows):
            picture = self.train[index]
            for k in rng.permutation(len(picture.expressions))[: self.expressions]:
                text, box = picture.expressions[k], picture.boxes[k]
                texts.append(mirror_words(text) if mirrored[row] else text)
                boxes.append(np.array([1 - box[2], box[1], 1 - box[0], box[3]], np.float32) if mirrored[row] else box)
                image_of.append(row)
        words = (torch.tensor(image_of), self.tokenize(texts), torch.from_numpy(np.stack(boxes)))
        return Batch(*self._look(rows, mirrored), *words, features=self._features(rows, mirrored))

    def _look(self, rows: list[int], mirrored: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pictures on the canvas; blank ones where their features are known."""
        images = [self.train[row].image for row in rows]
        if self.features is not None:
            return self.canvas.place([np.zeros((*image.size[::-1], 3), dtype=np.uint8) for image in images])
        pixels = [image.array() for image in images]
        return self.canvas.place([p[:, ::-1] if m else p for p, m in zip(pixels, mirrored, strict=True)])

    def _features(self, rows: list[int], mirrored: np.ndarray) -> torch.Tensor | None:
        if self.features is None:
            return None
        return torch.from_numpy(self.features[np.array(rows) + len(self.train) * mirrored].astype(np.float32))

    def _rows(self, step: int) -> list[int]:
        """The pictures of a step: a new random order every epoch."""
        count = len(self.train)
        places = range(step * self.images, (step + 1) * self.images)
        return [int(_order(self.seed, place // count, count)[place % count]) for place in places]


_ORDERS: dict[tuple[int, int, int], np.ndarray] = {}


def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of an epoch's pictures; the last two are remembered."""
    key = (seed, epoch, count)
    if key not in _ORDERS:
        while len(_ORDERS) > 1:
            _ORDERS.pop(next(iter(_ORDERS)))
        _ORDERS[key] = np.random.default_rng([seed, epoch, 1]).permutation(count)
    return _ORDERS[key]


def observed(model: GroundingModel, train: Sequence[Picture], flip: bool, chunk: int = 8) -> ShardedArray | None:
    """What a network observes of pictures, fp16, kept in the cache folder; mirrored pictures follow where ``flip``.

    None where it observes nothing. What is interrupted goes on where it was.
    """
    first = _observe(model, [train[0].image.array()])
    if first is None:
        return None
    turned = [(picture.image, mirrored) for mirrored in (False, True)[: 1 + flip] for picture in train]

    def rows(start: int, stop: int) -> np.ndarray:
        parts = []
        for at in range(start, stop, chunk):
            images = turned[at : min(at + chunk, stop)]
            pixels = [(image.array()[:, ::-1] if mirrored else image.array()) for image, mirrored in images]
            parts.append(_observe(model, pixels))
        return np.concatenate([part.astype(np.float16) for part in parts if part is not None])

    identity = [fingerprint(first.tobytes()), repr(model.canvas), *(f"{image.key} {m}" for image, m in turned)]
    return computed(identity, first.shape[1:], len(turned), rows, "frozen features")


def _observe(model: GroundingModel, pixels: Sequence[np.ndarray]) -> np.ndarray | None:
    device = next(model.parameters()).device
    found = model.observe(model.canvas.place(pixels)[0].to(device))
    return None if found is None else found.float().cpu().numpy()
