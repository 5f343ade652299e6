"""Training batches of box-text pairs: images, true boxes, perturbed boxes, texts, and matches of texts and objects.

A batch is a pure function of (seed, step), so a resumed run gets the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop, resize
from vg_gym.clip.finetuning.augmentation import bordered, mirrored, photometric
from vg_gym.data.mirroring import mirror_words
from vg_gym.types import GroundingDataset, Objects, Sample, rows_by_image

UNKNOWN = -1
"""Value in ``match`` if it is unknown whether the text fits the object."""


@dataclass
class Batch:
    """Batch of I images with up to N objects and K regions each, T texts and C crops; boxes are normalised."""

    images: np.ndarray
    """Images, uint8 (I, S, S, 3)."""
    objects: np.ndarray
    """True boxes, float32 (I, N, 4); rows after the last object of an image are the whole image."""
    valid: np.ndarray
    """True in rows that are objects, bool (I, N)."""
    regions: np.ndarray
    """Perturbed and random boxes, float32 (I, K, 4)."""
    texts: list[str]
    """Referring expressions, T strings."""
    text_image: np.ndarray
    """Image of each text, int (T,)."""
    text_object: np.ndarray
    """Object that each text refers to, int (T,)."""
    match: np.ndarray
    """1 if the text fits the object, 0 if it does not, -1 if unknown (ignored by the losses), int8 (T, I, N)."""
    by_appearance: np.ndarray
    """True if a crop of the object suffices to understand the text, bool (T,)."""
    crops: np.ndarray
    """Crops, uint8 (C, s, s, 3)."""
    crop_image: np.ndarray
    """Image of each crop, int (C,)."""
    crop_object: np.ndarray
    """Object of each crop, int (C,)."""


def perturb(boxes: np.ndarray, rng: np.random.Generator, copies: int) -> np.ndarray:
    """Return near misses (N * copies, 4) of boxes (N, 4): too small, too big, shifted, stretched, cut."""
    boxes = np.repeat(boxes, copies, axis=0)
    side = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    # The three kinds are equally frequent: edges that move independently, a change of scale, and a shift of the box.
    moved = boxes + side * rng.normal(0, 0.22, boxes.shape)
    grown = box_ops.scale(boxes, np.exp(rng.uniform(-0.9, 0.9, (len(boxes), 1))))
    shifted = boxes + np.tile(side[:, :2] * rng.uniform(-0.7, 0.7, (len(boxes), 2)), 2)
    choice = rng.integers(3, size=(len(boxes), 1))
    return box_ops.fit_inside(np.where(choice == 0, moved, np.where(choice == 1, grown, shifted)), min_side=0.03)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return normalised boxes (count, 4) at random places, with log-uniform sides in [0.08, 1]."""
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
    """Return perturbed copies of every object and random boxes, (I, N * near + far, 4)."""
    count = valid.shape[1]
    rows = []
    for objects in boxes:
        filled = np.concatenate([objects, objects[rng.integers(len(objects), size=count - len(objects))]])
        rows.append(np.concatenate([perturb(filled, rng, near), random_boxes(rng, far)]))
    return np.array(rows, dtype=np.float32)


class DatasetBatches:
    """Batches from any data set, in which texts are negatives for the other objects and the other images.

    Args:
        dataset: samples with boxes.
        images: images per batch.
        image_size: side S of the full images in pixels.
        crop_size: side s of the crops in pixels.
        crops: crops per image.
        texts: texts per image.
        max_objects: largest number of annotated objects per image; those with texts come first.
        near: perturbed copies per object.
        far: random boxes per image.
        seed: seed of the batches.
        interpolation: interpolation of images and crops, a key of :data:`vg_gym.clip.crops.KERNELS`.
        strength: strength of the photometric augmentation, from 0 to 1.
        flip: mirror half of the images, and swap left and right in their texts.
        border: largest width of a plain border around an image, as a fraction of its side.
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
        strength: float = 0.0,
        flip: bool = False,
        border: float = 0.0,
    ):
        self.flip, self.border = flip, border
        self.interpolation, self.strength = interpolation, strength
        self.dataset, self.images, self.image_size, self.crop_size = dataset, images, image_size, crop_size
        self.crops, self.texts, self.max_objects, self.near, self.far = crops, texts, max_objects, near, far
        self.seed = seed

    @cached_property
    def _rows_by_image(self) -> list[list[int]]:
        return rows_by_image(self.dataset)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        groups = self._draw(rng)
        images = [group[0].query.image for group in groups]
        objects = [self._objects(group) for group in groups]
        pairs = [(i, objects[i].ann_ids.index(s.ann_id)) for i, group in enumerate(groups) for s in group]
        texts = [s.query.expression for group in groups for s in group]
        boxes = [box_ops.normalize(o.boxes, image.size) for o, image in zip(objects, images, strict=True)]
        arrays = [image.array() for image in images]
        texts = self._mirror(rng, arrays, boxes, texts, [image for image, _ in pairs])
        return self._assemble(rng, arrays, boxes, texts, pairs, self._match(texts, pairs), np.ones(len(texts), bool))

    def _mirror(
        self,
        rng: np.random.Generator,
        arrays: list[np.ndarray],
        boxes: list[np.ndarray],
        texts: list[str],
        text_image: list[int],
    ) -> list[str]:
        """Mirror half of the images and their boxes in place if ``flip`` is set, and return the texts.

        Args:
            rng: random generator of the batch.
            arrays: images, uint8 (H, W, 3) each.
            boxes: normalised boxes of the objects of each image, (N, 4) each.
            texts: referring expressions.
            text_image: image of each text.
        """
        if not self.flip:
            return texts
        chosen = rng.random(len(arrays)) < 0.5
        for image in np.flatnonzero(chosen).tolist():
            arrays[image], boxes[image] = mirrored(arrays[image], boxes[image])
        return [mirror_words(text) if chosen[image] else text for text, image in zip(texts, text_image, strict=True)]

    def _draw(self, rng: np.random.Generator) -> list[list[Sample]]:
        """Draw random images and some samples of each."""
        rows = self._rows_by_image
        chosen = rng.choice(len(rows), size=self.images, replace=len(rows) < self.images)
        picked = [rng.permutation(rows[image])[: self.texts] for image in chosen]
        return [[self.dataset[int(row)] for row in group] for group in picked]

    def _objects(self, samples: list[Sample]) -> Objects:
        """Return up to ``max_objects`` annotated objects of an image, those with texts first."""
        objects = self.dataset.objects(samples[0].image_id)
        targets = {s.ann_id for s in samples}
        order = sorted(range(len(objects.ann_ids)), key=lambda i: objects.ann_ids[i] not in targets)[: self.max_objects]
        return Objects(
            objects.boxes[order],
            tuple(objects.categories[i] for i in order),
            tuple(objects.ann_ids[i] for i in order),
        )

    def _match(self, texts: list[str], pairs: list[tuple[int, int]]) -> np.ndarray:
        """Return ``match`` of texts that refer to (image, object) pairs; a repeated text fits all its objects."""
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
        """Assemble a batch from annotations and add near misses, random boxes and crops.

        Args:
            rng: random generator of the batch.
            arrays: images, uint8 (H, W, 3) each.
            boxes: normalised boxes of the objects of each image, (N, 4) each.
            texts: referring expressions.
            pairs: image of each text and object in the image.
            match: see :class:`Batch`.
            by_appearance: see :class:`Batch`.
        """
        if self.border:
            pairs_of_both = [bordered(*both, rng, self.border) for both in zip(arrays, boxes, strict=True)]
            arrays, boxes = [array for array, _ in pairs_of_both], [rows for _, rows in pairs_of_both]
        objects, valid = _pad(boxes, self.max_objects)
        regions = _regions(boxes, valid, rng, self.near, self.far)
        arrays = [photometric(array, rng, self.strength) for array in arrays]
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
        """Return crops (C, s, s, 3) of images under one normalised box each."""
        crops = np.zeros((len(cuts), self.crop_size, self.crop_size, 3), np.uint8)
        for row, (array, box) in enumerate(cuts):
            size = array.shape[1], array.shape[0]
            crops[row] = resize(crop(array, box_ops.denormalize(box, size)), self.crop_size, self.interpolation)
        return crops
