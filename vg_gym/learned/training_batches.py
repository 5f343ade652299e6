"""Training batches of grounders: images with several of their expressions; some images are mirrored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.data.mirroring import mirror_words
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch
from vg_gym.learned.model import GroundingModel
from vg_gym.runtime.devices import share_out
from vg_gym.storage.files import fingerprint
from vg_gym.storage.shards import ShardedArray, computed
from vg_gym.types import GroundingDataset, ImageRef

IMAGES_PER_PASS = 8
"""Number of images whose frozen features a network computes in one forward pass."""
IMAGES_PER_WRITE = 256
"""Number of images whose frozen features are written at a time; an interruption loses the unwritten ones."""


@dataclass(frozen=True)
class AnnotatedImage:
    """Image with all its expressions and their true boxes."""

    image: ImageRef
    """Image, whose pixels are read on demand."""
    expressions: tuple[str, ...]
    """K expressions."""
    boxes: np.ndarray
    """True boxes, normalised ``xyxy`` (K, 4)."""


def annotated_images(dataset: GroundingDataset, limit: int | None = None) -> list[AnnotatedImage]:
    """Return the images of a data set with all their expressions.

    Args:
        dataset: data set to read.
        limit: number of images, from the start; reading ends at the first expression of the next image.

    Raises:
        VGGymError: the data set is empty.
    """
    samples_by_image: dict[int, list] = {}
    label = f"{dataset.name}/{dataset.split}"
    for row in tqdm(range(len(dataset)), desc=label, unit="expression", mininterval=2):
        sample = dataset[row]
        if limit is not None and sample.image_id not in samples_by_image and len(samples_by_image) == limit:
            break
        samples_by_image.setdefault(sample.image_id, []).append(sample)
    if not samples_by_image:
        raise VGGymError(f"{label} has no expressions to train on")
    return [
        AnnotatedImage(
            group[0].query.image,
            tuple(s.query.expression for s in group),
            np.stack([box_ops.normalize(s.box, s.query.image.size) for s in group]),
        )
        for group in samples_by_image.values()
    ]


class GroundingBatches:
    """Function from steps to batches; a batch depends only on the step.

    Args:
        train: images to draw from.
        model: network whose canvas and tokenizer make the batches. Its frozen features of an image are computed once
            and cached on disk.
        images: images per batch.
        expressions: largest number of expressions per image.
        flip: mirror half of the images and swap left and right in their expressions.
        seed: seed of the order of images, of their expressions and of the mirroring.
    """

    def __init__(
        self, train: Sequence[AnnotatedImage], model: GroundingModel, images: int, expressions: int,
        flip: bool = True, seed: int = 0,
    ):  # fmt: skip
        self.train, self.images, self.expressions, self.flip, self.seed = train, images, expressions, flip, seed
        self.canvas, self.tokenize = model.canvas, model.tokenize
        self.features = frozen_features(model, train, flip)

    def __call__(self, step: int) -> Batch:
        """Return the batch of a step; every image occurs once per epoch."""
        rng = np.random.default_rng([self.seed, step])
        rows = self._rows(step)
        mirrored = rng.random(len(rows)) < 0.5 if self.flip else np.zeros(len(rows), dtype=bool)
        texts, boxes, image_of = [], [], []
        for row, index in enumerate(rows):
            image = self.train[index]
            for k in rng.permutation(len(image.expressions))[: self.expressions]:
                text, box = image.expressions[k], image.boxes[k]
                texts.append(mirror_words(text) if mirrored[row] else text)
                boxes.append(box_ops.mirror(box) if mirrored[row] else box)
                image_of.append(row)
        queries = (torch.tensor(image_of), self.tokenize(texts), torch.from_numpy(np.stack(boxes)))
        return Batch(*self._place(rows, mirrored), *queries, features=self._features(rows, mirrored))

    def _place(self, rows: list[int], mirrored: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Place images on the canvas; they are blank if their features are cached."""
        images = [self.train[row].image for row in rows]
        if self.features is not None:
            return self.canvas.place([np.zeros((*image.size[::-1], 3), dtype=np.uint8) for image in images])
        return self.canvas.place([_pixels(image, m) for image, m in zip(images, mirrored, strict=True)])

    def _features(self, rows: list[int], mirrored: np.ndarray) -> torch.Tensor | None:
        if self.features is None:
            return None
        return torch.from_numpy(self.features[np.array(rows) + len(self.train) * mirrored].astype(np.float32))

    def _rows(self, step: int) -> list[int]:
        """Return the indices of a step's images; every epoch has a new random order."""
        count = len(self.train)
        places = range(step * self.images, (step + 1) * self.images)
        return [int(_epoch_order(self.seed, place // count, count)[place % count]) for place in places]


@lru_cache(maxsize=2)  # a step may reach from one epoch into the next
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch's images."""
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def frozen_features(model: GroundingModel, train: Sequence[AnnotatedImage], flip: bool) -> ShardedArray | None:
    """Return a network's frozen features of images, fp16, from the cache folder; computes them if they are missing.

    With ``flip`` the features of the mirrored images follow. The result is None if the network does not have frozen
    features. An interrupted computation resumes.
    """
    first = _encode(model, [train[0].image.array()])
    if first is None:
        return None
    inputs = [(image.image, mirrored) for mirrored in (False, True)[: 1 + flip] for image in train]

    def encoded(chunk: Sequence[tuple[ImageRef, bool]]) -> np.ndarray:
        features = _encode(model, [_pixels(image, mirrored) for image, mirrored in chunk])
        assert features is not None
        return features.astype(np.float16)

    def rows(start: int, stop: int) -> np.ndarray:
        chunks = [inputs[at : min(at + IMAGES_PER_PASS, stop)] for at in range(start, stop, IMAGES_PER_PASS)]
        return np.concatenate(share_out(encoded, chunks, next(model.parameters()).device))

    pieces = f"{IMAGES_PER_WRITE} at a time"
    identity = [fingerprint(first.tobytes()), repr(model.canvas), pieces, *(f"{image.key} {m}" for image, m in inputs)]
    return computed(identity, first.shape[1:], len(inputs), rows, "frozen features", most=IMAGES_PER_WRITE)


def _pixels(image: ImageRef, mirrored: bool) -> np.ndarray:
    return image.array()[:, ::-1] if mirrored else image.array()


def _encode(model: GroundingModel, pixels: Sequence[np.ndarray]) -> np.ndarray | None:
    device = next(model.parameters()).device
    features = model.frozen_image_features(model.canvas.place(pixels)[0].to(device))
    return None if features is None else features.float().cpu().numpy()
