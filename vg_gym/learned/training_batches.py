"""Training batches of grounders: images with several of their expressions, some of them mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.devices import share_out
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel
from vg_gym.storage.files import fingerprint
from vg_gym.storage.shards import ShardedArray, computed
from vg_gym.types import GroundingDataset, ImageRef

MIRRORED = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
"""Words that a mirrored image turns into each other."""
ENCODED_AT_ONCE = 8
"""Images of which a network computes frozen features in one pass."""
KEPT_AT_ONCE = 256
"""Images whose frozen features are written at a time; an interruption loses those under way."""


def mirror_words(expression: str) -> str:
    """The expression for the mirrored image: every left becomes right and the other way round.

    >>> mirror_words("the leftmost star right of the ring")
    'the rightmost star left of the ring'
    """
    words = rf"\b({'|'.join(MIRRORED)})\b"
    return re.sub(words, lambda match: MIRRORED[match.group().lower()], expression, flags=re.IGNORECASE)


def mirror_box(box: np.ndarray) -> np.ndarray:
    """A normalised box (4,) ``xyxy`` in the mirrored image, float32."""
    return np.array([1 - box[2], box[1], 1 - box[0], box[3]], np.float32)


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with all its expressions and their answers."""

    image: ImageRef
    """Its pixels, read when asked."""
    expressions: tuple[str, ...]
    """K of them."""
    boxes: np.ndarray
    """(K, 4) ``xyxy`` normalised."""


def annotated_images(dataset: GroundingDataset, limit: int | None = None) -> list[AnnotatedImage]:
    """The images of a data set with all their expressions.

    Args:
        dataset: what to read.
        limit: the first so many images; what follows the first expression of one more is not read.

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
        AnnotatedImage(
            group[0].query.image,
            tuple(s.query.expression for s in group),
            np.stack([box_ops.normalize(s.box, s.query.image.size) for s in group]),
        )
        for group in found.values()
    ]


class GroundingBatches:
    """Batches by step, a pure function of it.

    Args:
        train: images to draw from.
        model: whose canvas and tokens the batches have; its frozen features of an image are computed once and kept on
            disk.
        images: images a batch.
        expressions: most expressions of each.
        flip: mirror half of the images, and their words.
        seed: of everything drawn.
    """

    def __init__(
        self, train: Sequence[AnnotatedImage], model: GroundingModel, images: int, expressions: int,
        flip: bool = True, seed: int = 0,
    ):  # fmt: skip
        self.train, self.images, self.expressions, self.flip, self.seed = train, images, expressions, flip, seed
        self.canvas, self.tokenize = model.canvas, model.tokenize
        self.features = frozen_features(model, train, flip)

    def __call__(self, step: int) -> Batch:
        """The batch of a step; every image comes once an epoch."""
        rng = np.random.default_rng([self.seed, step])
        rows = self._rows(step)
        mirrored = rng.random(len(rows)) < 0.5 if self.flip else np.zeros(len(rows), dtype=bool)
        texts, boxes, image_of = [], [], []
        for row, index in enumerate(rows):
            image = self.train[index]
            for k in rng.permutation(len(image.expressions))[: self.expressions]:
                text, box = image.expressions[k], image.boxes[k]
                texts.append(mirror_words(text) if mirrored[row] else text)
                boxes.append(mirror_box(box) if mirrored[row] else box)
                image_of.append(row)
        queries = (torch.tensor(image_of), self.tokenize(texts), torch.from_numpy(np.stack(boxes)))
        return Batch(*self._place(rows, mirrored), *queries, features=self._features(rows, mirrored))

    def _place(self, rows: list[int], mirrored: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images on the canvas; blank ones where their features are known."""
        images = [self.train[row].image for row in rows]
        if self.features is not None:
            return self.canvas.place([np.zeros((*image.size[::-1], 3), dtype=np.uint8) for image in images])
        return self.canvas.place([_pixels(image, m) for image, m in zip(images, mirrored, strict=True)])

    def _features(self, rows: list[int], mirrored: np.ndarray) -> torch.Tensor | None:
        if self.features is None:
            return None
        return torch.from_numpy(self.features[np.array(rows) + len(self.train) * mirrored].astype(np.float32))

    def _rows(self, step: int) -> list[int]:
        """The images of a step: a new random order every epoch."""
        count = len(self.train)
        places = range(step * self.images, (step + 1) * self.images)
        return [int(_epoch_order(self.seed, place // count, count)[place % count]) for place in places]


@lru_cache(maxsize=2)  # a step may reach from one epoch into the next
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of an epoch's images."""
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def frozen_features(model: GroundingModel, train: Sequence[AnnotatedImage], flip: bool) -> ShardedArray | None:
    """A network's frozen features of images, fp16, kept in the cache folder; mirrored images follow where ``flip``.

    None where the network has none. A computation that was interrupted goes on where it was.
    """
    first = _encode(model, [train[0].image.array()])
    if first is None:
        return None
    wanted = [(image.image, mirrored) for mirrored in (False, True)[: 1 + flip] for image in train]

    def encoded(chunk: Sequence[tuple[ImageRef, bool]]) -> np.ndarray:
        found = _encode(model, [_pixels(image, mirrored) for image, mirrored in chunk])
        assert found is not None
        return found.astype(np.float16)

    def rows(start: int, stop: int) -> np.ndarray:
        chunks = [wanted[at : min(at + ENCODED_AT_ONCE, stop)] for at in range(start, stop, ENCODED_AT_ONCE)]
        return np.concatenate(share_out(encoded, chunks, next(model.parameters()).device))

    pieces = f"{KEPT_AT_ONCE} at a time"
    identity = [fingerprint(first.tobytes()), repr(model.canvas), pieces, *(f"{image.key} {m}" for image, m in wanted)]
    return computed(identity, first.shape[1:], len(wanted), rows, "frozen features", most=KEPT_AT_ONCE)


def _pixels(image: ImageRef, mirrored: bool) -> np.ndarray:
    return image.array()[:, ::-1] if mirrored else image.array()


def _encode(model: GroundingModel, pixels: Sequence[np.ndarray]) -> np.ndarray | None:
    device = next(model.parameters()).device
    found = model.frozen_image_features(model.canvas.place(pixels)[0].to(device))
    return None if found is None else found.float().cpu().numpy()
