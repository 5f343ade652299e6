"""Training batches of pictures with captions, without any box: whole pictures, and random crops of drawn scenes.

A batch is a pure function of (seed, step), so a resumed run gets the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.crops import crop, resize
from vg_gym.clip.finetuning.augmentation import photometric
from vg_gym.clip.finetuning.refscenes_batches import records_of_batch
from vg_gym.clip.finetuning.scene_statements import Statement, described
from vg_gym.data.mirroring import mirror_words
from vg_gym.data.worlds.refscenes.chunks import labels_of, pixels_of
from vg_gym.data.worlds.refscenes.records import SceneRecord
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.types import GroundingDataset, rows_by_image

AND = " and "
"""Text between the statements of a caption."""
MAX_STATEMENTS = 3
"""Largest number of sentences or phrases in a caption."""
WHOLE_SHARE = 0.25
"""Probability that a view of a scene is the whole picture."""
MIN_CROP_AREA = 0.03
"""Smallest area of a random crop, as a fraction of the picture."""
MAX_STRETCH = 0.6
"""Largest logarithm of the ratio of a crop's sides, relative to the picture's."""
MIN_SHOWN = 0.7
"""Smallest share of a thing's box in a crop whose caption speaks of the thing."""
MIN_SHOWN_AREA = 0.04
"""Smallest area of that part of the box, as a fraction of the crop."""
MAX_CROPS_TRIED = 6
"""Number of random crops after which the whole picture is used, because none shows a thing."""
View = tuple[np.ndarray, str, str]
"""Pixels, a caption, and a wrong caption or an empty text."""


@dataclass
class CaptionBatch:
    """Batch of P pictures with one caption each, and captions that are wrong for them."""

    pictures: np.ndarray
    """Whole pictures or crops, uint8 (P, S, S, 3)."""
    captions: list[str]
    """P captions."""
    wrong: list[str]
    """Captions with one other colour or noun, true of no picture that they were made from; any number."""


class CaptionBatches:
    """Batches of whole pictures of any data set, whose captions are up to three of their expressions.

    Args:
        dataset: samples; their boxes are not read.
        images: pictures per batch of the smallest size.
        sizes: sides S of the pictures in pixels; the batches take turns, and all have about as many pixels.
        strength: strength of the photometric augmentation, from 0 to 1.
        seed: seed of the batches.
        interpolation: key of :data:`vg_gym.clip.crops.KERNELS`.
    """

    def __init__(
        self,
        dataset: GroundingDataset,
        images: int,
        sizes: Sequence[int],
        strength: float = 0.0,
        seed: int = 0,
        interpolation: str = "bicubic",
    ):
        self.dataset, self.images, self.sizes, self.strength = dataset, images, tuple(sizes), strength
        self.seed, self.interpolation = seed, interpolation

    @cached_property
    def _rows_by_image(self) -> list[list[int]]:
        return rows_by_image(self.dataset)

    def batch(self, step: int) -> CaptionBatch:
        """Return the batch of a step."""
        rng = np.random.default_rng([self.seed, step])
        size = self.sizes[step % len(self.sizes)]
        count = max(2, round(self.images * (min(self.sizes) / size) ** 2))
        views = [self._finished(*view, size, rng) for view in self._views(rng, step, count)]
        pictures, captions, wrong = zip(*views, strict=True)
        return CaptionBatch(np.stack(pictures), list(captions), [text for text in wrong if text])

    def _views(self, rng: np.random.Generator, step: int, count: int) -> list[View]:
        """Return views of a number of pictures."""
        rows, views = self._rows_by_image, []
        for image in rng.choice(len(rows), size=count, replace=len(rows) < count):
            group = [self.dataset[int(row)] for row in rng.permutation(rows[image])[:MAX_STATEMENTS]]
            num_texts = int(rng.integers(len(group))) + 1
            caption = AND.join(sample.query.expression for sample in group[:num_texts])
            views.append((group[0].query.image.array(), caption, ""))
        return views

    def _finished(self, pixels: np.ndarray, caption: str, wrong: str, size: int, rng: np.random.Generator) -> View:
        """Resize and change a picture; half of the pictures are mirrored with their words."""
        small = photometric(resize(pixels, size, self.interpolation), rng, self.strength)
        if rng.random() < 0.5:
            return small[:, ::-1], mirror_words(caption), mirror_words(wrong)
        return small, caption, wrong


class SceneCaptionBatches(CaptionBatches):
    """Batches of whole pictures and random crops of RefScenes, with captions about one to three things they show.

    A crop is drawn without regard to the things. The world knows what it shows, and the caption speaks of that; no box
    is in a batch. The scenes of a batch are neighbours by eights, as they are stored.
    """

    dataset: RefScenes

    def _views(self, rng: np.random.Generator, step: int, count: int) -> list[View]:
        return [_view(record, rng) for record in records_of_batch(self.dataset, rng, step, count)]


def _view(record: SceneRecord, rng: np.random.Generator) -> View:
    """Return a view of a scene with a caption and a wrong one."""
    labels = labels_of(record)
    boxes = box_ops.normalize(np.array(labels.boxes, dtype=np.float32), labels.size)
    window, visible = _window(boxes, rng)
    possible = [statement for statement in described(record).statements if visible[list(statement.things)].all()]
    chosen = _chosen(possible, np.sqrt(box_ops.area(boxes)), rng)
    if not chosen:  # of what the crop shows nothing is said
        return pixels_of(record), labels.expressions[0][0], ""
    wrong = _wrong(chosen, int(rng.integers(len(chosen))))
    cut = crop(pixels_of(record), box_ops.denormalize(window, labels.size))
    return cut, AND.join(statement.text for statement in chosen), wrong


def _window(boxes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the normalised box of a view, the whole picture or a random crop, and which things it shows, bool (N,)."""
    if rng.random() >= WHOLE_SHARE:
        for _ in range(MAX_CROPS_TRIED):
            window = random_window(rng)
            visible = _shown(boxes, window)
            if visible.any():
                return window, visible
    return box_ops.FULL, _shown(boxes, box_ops.FULL)


def random_window(rng: np.random.Generator) -> np.ndarray:
    """Return a normalised box (4,) of log-uniform area and ratio of its sides, at a random place."""
    area = np.exp(rng.uniform(np.log(MIN_CROP_AREA), 0))
    side = np.sqrt(area) * np.exp(np.array([0.5, -0.5]) * rng.uniform(-MAX_STRETCH, MAX_STRETCH))
    side = np.minimum(side, 1)
    low = rng.uniform(0, 1, 2) * (1 - side)
    return np.concatenate([low, low + side])


def _shown(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Return which boxes are mostly in a window, and not tiny there, bool (N,)."""
    inside = box_ops.intersection(boxes, window)
    return (inside >= MIN_SHOWN * box_ops.area(boxes)) & (inside >= MIN_SHOWN_AREA * box_ops.area(window))


def _chosen(possible: Sequence[Statement], weights: np.ndarray, rng: np.random.Generator) -> list[Statement]:
    """Return one to three statements about different things, larger things more often."""
    count, candidates = int(rng.integers(MAX_STATEMENTS)) + 1, list(possible)
    chosen: list[Statement] = []
    while candidates and len(chosen) < count:
        share = np.array([weights[statement.things[0]] for statement in candidates])
        statement = candidates[int(rng.choice(len(candidates), p=share / share.sum()))]
        chosen.append(statement)
        candidates = [other for other in candidates if other.things[0] not in statement.things]
    return chosen


def _wrong(chosen: Sequence[Statement], place: int) -> str:
    """Return the caption with one statement altered, or an empty text if there is nothing to alter."""
    texts = [statement.altered if i == place else statement.text for i, statement in enumerate(chosen)]
    return AND.join(texts) if chosen[place].altered else ""
