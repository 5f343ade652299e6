"""Training batches of box-text pairs: images, true boxes, perturbed boxes, texts, and which text fits which object.

A batch is a pure function of (seed, step), so a resumed run gets the batches of an uninterrupted one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop, resize
from vg_gym.types import GroundingDataset, Objects, Sample

UNKNOWN = -1
"""In ``match``: whether the text fits the object is not known."""


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
    by_appearance: np.ndarray
    """bool (T,): the text can be understood from a crop of its object alone."""
    crops: np.ndarray
    """uint8 (C, s, s, 3)."""
    crop_image: np.ndarray
    """int (C,): the image of each crop."""
    crop_object: np.ndarray
    """int (C,): the object of each crop."""


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


def _regions(
    boxes: Sequence[np.ndarray], valid: np.ndarray, rng: np.random.Generator, near: int, far: int
) -> np.ndarray:
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
        interpolation: of images and crops, a key of :data:`vg_gym.clip.crops.KERNELS`.
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
        interpolation: str = "bicubic",
    ):
        self.interpolation = interpolation
        self.dataset, self.images, self.image_size, self.crop_size = dataset, images, image_size, crop_size
        self.crops, self.texts, self.max_objects, self.near, self.far = crops, texts, max_objects, near, far
        self.seed = seed

    @cached_property
    def _rows_by_image(self) -> list[list[int]]:
        groups: dict[int, list[int]] = defaultdict(list)
        for row in range(len(self.dataset)):
            groups[self.dataset[row].image_id].append(row)
        return list(groups.values())

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        groups = self._draw(rng)
        images = [group[0].query.image for group in groups]
        objects = [self._objects(group) for group in groups]
        pairs = [(i, objects[i].ann_ids.index(s.ann_id)) for i, group in enumerate(groups) for s in group]
        texts = [s.query.expression for group in groups for s in group]
        boxes = [box_ops.normalize(o.boxes, image.size) for o, image in zip(objects, images, strict=True)]
        arrays = [image.array() for image in images]
        return self._assemble(rng, arrays, boxes, texts, pairs, self._match(texts, pairs), np.ones(len(texts), bool))

    def _draw(self, rng: np.random.Generator) -> list[list[Sample]]:
        """Samples of random images, some of each."""
        rows = self._rows_by_image
        chosen = rng.choice(len(rows), size=self.images, replace=len(rows) < self.images)
        picked = [rng.permutation(rows[image])[: self.texts] for image in chosen]
        return [[self.dataset[int(row)] for row in group] for group in picked]

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

    def _match(self, texts: list[str], pairs: list[tuple[int, int]]) -> np.ndarray:
        """``match`` of texts that mean (image, object) pairs; one that is used twice fits both objects."""
        match = np.zeros((len(texts), self.images, self.max_objects), dtype=np.int8)
        for row, (image, position) in enumerate(pairs):
            match[row, image, position] = 1
        same = np.array([[a == b for b in texts] for a in texts])
        return np.maximum(match, np.einsum("ab,bin->ain", same, match > 0).astype(np.int8))

    def _assemble(
        self,
        rng: np.random.Generator,
        arrays: list[np.ndarray],
        boxes: list[np.ndarray],
        texts: list[str],
        pairs: list[tuple[int, int]],
        match: np.ndarray,
        by_appearance: np.ndarray,
    ) -> Batch:
        """A batch from a data set's annotations, with near misses, random boxes and crops.

        Args:
            rng: of the batch.
            arrays: the images, uint8 (H, W, 3).
            boxes: of their objects, normalised (N, 4) each.
            texts: referring expressions.
            pairs: the image of each text, and the object in it.
            match: as in :class:`Batch`.
            by_appearance: as in :class:`Batch`.
        """
        objects, valid = _pad(boxes, self.max_objects)
        regions = _regions(boxes, valid, rng, self.near, self.far)
        readable = [pair for pair, alone in zip(pairs, by_appearance, strict=True) if alone]
        picked = [readable[int(i)] for i in rng.permutation(len(readable))[: self.crops * self.images]]
        text_image, text_object = np.array(pairs).T
        crop_image, crop_object = np.array(picked, dtype=int).reshape(-1, 2).T
        return Batch(
            images=np.stack([resize(array, self.image_size, self.interpolation) for array in arrays]),
            objects=objects,
            valid=valid,
            regions=regions,
            texts=texts,
            text_image=text_image,
            text_object=text_object,
            match=match,
            by_appearance=by_appearance,
            crops=self._crops([(arrays[image], boxes[image][position]) for image, position in picked]),
            crop_image=crop_image,
            crop_object=crop_object,
        )

    def _crops(self, cuts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Crops (C, s, s, 3) of images under one normalised box each."""
        found = np.zeros((len(cuts), self.crop_size, self.crop_size, 3), np.uint8)
        for row, (array, box) in enumerate(cuts):
            size = array.shape[1], array.shape[0]
            found[row] = resize(crop(array, box_ops.denormalize(box, size)), self.crop_size, self.interpolation)
        return found
