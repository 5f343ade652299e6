"""Training batches of box-text pairs: images, true boxes, perturbed boxes, texts, and which text fits which object.

A batch is a pure function of (seed, step), so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop, resize
from vg_gym.types import GroundingDataset, Objects, Sample

UNKNOWN = -1


@dataclass
class Batch:
    """I images with up to N objects and K regions each, T texts, C crops. Boxes are normalised."""

    images: np.ndarray
    """uint8 (I, S, S, 3)."""
    objects: np.ndarray
    """True boxes, float32 (I, N, 4), rows beyond an image's objects are the whole image."""
    valid: np.ndarray
    """bool (I, N): which rows are objects."""
    regions: np.ndarray
    """Perturbed and random boxes, float32 (I, K, 4)."""
    texts: list[str]
    text_image: np.ndarray
    """int (T,): the image of each text."""
    text_object: np.ndarray
    """int (T,): the object that each text means."""
    match: np.ndarray
    """int8 (T, I, N): 1 the text fits the object, 0 it does not, -1 unknown (leave it out)."""
    by_looks: np.ndarray
    """bool (T,): the text can be understood from a crop of its object alone."""
    crops: np.ndarray
    """uint8 (C, s, s, 3)."""
    crop_image: np.ndarray
    crop_object: np.ndarray


def perturb(boxes: np.ndarray, rng: np.random.Generator, copies: int) -> np.ndarray:
    """Near misses (N * copies, 4) of boxes (N, 4): too small, too big, shifted, stretched, cut."""
    boxes = np.repeat(boxes, copies, axis=0)
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    # Every edge moves on its own by up to half a side, or all move out or in together, about equally often.
    moved = boxes + side * rng.normal(0, 0.22, boxes.shape)
    grown = box_ops.scale(boxes, np.exp(rng.uniform(-0.9, 0.9, (len(boxes), 1))))
    shifted = boxes + np.tile(side[:, :2] * rng.uniform(-0.7, 0.7, (len(boxes), 2)), 2)
    choice = rng.integers(3, size=(len(boxes), 1))
    return box_ops.fit_inside(np.where(choice == 0, moved, np.where(choice == 1, grown, shifted)), min_side=0.03)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes (count, 4) of all sizes (log-uniform sides in [0.08, 1]) and places, normalised."""
    side = np.exp(rng.uniform(np.log(0.08), 0, (count, 2)))
    low = rng.uniform(0, 1, (count, 2)) * (1 - side)
    return np.concatenate([low, low + side], axis=1)


def _pad(boxes: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    padded = np.tile(box_ops.FULL, (len(boxes), count, 1))
    valid = np.zeros((len(boxes), count), dtype=bool)
    for i, rows in enumerate(boxes):
        padded[i, : len(rows)], valid[i, : len(rows)] = rows, True
    return padded, valid


def _regions(boxes: Sequence[np.ndarray], valid: np.ndarray, rng: np.random.Generator, near: int, far: int):
    """Perturbed copies of every object and random boxes, (I, N * near + far, 4)."""
    count = valid.shape[1]
    rows = []
    for own in boxes:
        filled = np.concatenate([own, own[rng.integers(len(own), size=count - len(own))]])
        rows.append(np.concatenate([perturb(filled, rng, near), random_boxes(rng, far)]))
    return np.array(rows, dtype=np.float32)


class DatasetBatches:
    """Batches from any data set: texts of an image are negatives for its other objects and for other images.

    Args:
        dataset: samples with boxes.
        images: images per batch.
        image_size: side S of the full images, pixels.
        crop_size: side s of the crops, pixels.
        crops: crops per image.
        texts: texts per image.
        max_objects: annotated objects kept per image (those with texts first).
        near: perturbed copies per object.
        far: random boxes per image.
        seed: of the stream of batches.
    """

    def __init__(
        self,
        dataset: GroundingDataset,
        images: int,
        image_size: int,
        crop_size: int,
        crops: int = 1,
        texts: int = 9,
        max_objects: int = 9,
        near: int = 4,
        far: int = 24,
        seed: int = 0,
    ):
        self.dataset, self.images, self.image_size, self.crop_size = dataset, images, image_size, crop_size
        self.crops, self.texts, self.max_objects, self.near, self.far = crops, texts, max_objects, near, far
        self.seed = seed

    def _samples_by_image(self) -> list[list[int]]:
        if not hasattr(self, "_by_image"):
            groups: dict[int, list[int]] = defaultdict(list)
            for index in range(len(self.dataset)):
                groups[self.dataset[index].image_id].append(index)
            self._by_image = list(groups.values())
        return self._by_image

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        groups = self._samples_by_image()
        chosen = rng.choice(len(groups), size=self.images, replace=len(groups) < self.images)
        per_image = []
        for group in chosen:
            picked = rng.permutation(groups[group])[: self.texts]
            per_image.append([self.dataset[int(i)] for i in picked])
        texts = [s.query.expression for samples in per_image for s in samples]
        chosen_objects = [self._objects(samples) for samples in per_image]
        pairs = [(i, self._position(s, chosen_objects[i])) for i, samples in enumerate(per_image) for s in samples]
        sizes = [samples[0].query.image.size for samples in per_image]
        boxes = [box_ops.normalize(o.boxes, size) for o, size in zip(chosen_objects, sizes, strict=True)]
        match = np.zeros((len(texts), self.images, self.max_objects), dtype=np.int8)
        for row, (image, position) in enumerate(pairs):
            match[row, image, position] = 1
        same = np.array([[a == b for b in texts] for a in texts])  # an expression used twice fits both objects
        match = np.maximum(match, np.einsum("ab,bin->ain", same, match > 0).astype(np.int8))
        arrays = [samples[0].query.image.array() for samples in per_image]
        return self._assemble(rng, arrays, boxes, texts, pairs, match, np.ones(len(texts), dtype=bool))

    def _objects(self, samples: list[Sample]) -> Objects:
        """The annotated objects of an image, those that texts mean first, at most ``max_objects``."""
        objects = self.dataset.objects(samples[0].image_id)
        meant = {s.ann_id for s in samples}
        order = sorted(range(len(objects.ann_ids)), key=lambda i: objects.ann_ids[i] not in meant)[: self.max_objects]
        return Objects(
            objects.boxes[order],
            tuple(objects.categories[i] for i in order),
            tuple(objects.ann_ids[i] for i in order),
        )

    @staticmethod
    def _position(sample: Sample, objects: Objects) -> int:
        return objects.ann_ids.index(sample.ann_id)

    def _assemble(self, rng, arrays, boxes, texts, pairs, match, by_looks) -> Batch:
        """Everything that does not depend on where texts and matches came from."""
        objects, valid = _pad(boxes, self.max_objects)
        regions = _regions(boxes, valid, rng, self.near, self.far)
        readable = [pair for pair, looks in zip(pairs, by_looks, strict=True) if looks]
        count = min(len(readable), self.crops * self.images)
        picked = [readable[int(i)] for i in rng.permutation(len(readable))[:count]]
        crops = []
        for image, position in picked:
            size = arrays[image].shape[1], arrays[image].shape[0]
            box = box_ops.denormalize(boxes[image][position], size)
            crops.append(resize(crop(arrays[image], box), self.crop_size))
        text_image, text_object = np.array(pairs).T
        crop_image, crop_object = np.array(picked).reshape(-1, 2).T
        images = np.stack([resize(a, self.image_size) for a in arrays])
        crop_pixels = np.stack(crops) if crops else np.zeros((0, self.crop_size, self.crop_size, 3), np.uint8)
        return Batch(
            images, objects, valid, regions, texts, text_image, text_object, match, by_looks, crop_pixels,
            crop_image, crop_object,
        )  # fmt: skip
