"""Samples with another phrasing, another picture or another scene, for tests of robustness.

A perturbed sample is a pure function of (sample, name, seed). The boxes follow the pixels, and the words follow the
mirror. Its query holds the changed pixels and words alone, so that it reveals no more than the original query.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image
from scipy import ndimage

from vg_gym.data.images import ArrayImage
from vg_gym.data.mirroring import mirror_words
from vg_gym.data.phrasings import PHRASINGS
from vg_gym.errors import unknown
from vg_gym.types import GroundingDataset, HasSegments, Query, Sample

GREY = 127
"""Level of the border of padded pictures."""
PADDING = 0.25
"""Width of the border of padded pictures, as a fraction of each side."""
JPEG_QUALITY = 30
NOISE_LEVELS = 15.0
"""Standard deviation of the noise in grey levels."""
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
RIM_PX = 2
"""Width of the rim of an object that is erased with it: its antialiased edge."""
NONSENSE_WORDS = 4
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass
class Scene:
    """Parts of a sample that a perturbation may change."""

    pixels: np.ndarray
    """Pixels, uint8 (H, W, 3)."""
    boxes: np.ndarray
    """True boxes, ``xyxy`` pixels (k, 4)."""
    words: str
    """Expression."""


Change = Callable[[Scene, np.random.Generator], Scene]
"""Function of a scene and of a random generator."""


def _resized(across: float, down: float) -> Change:
    """Return the change of a picture's width and height by factors."""

    def change(scene: Scene, rng: np.random.Generator) -> Scene:
        height, width = scene.pixels.shape[:2]
        size = max(1, round(width * across)), max(1, round(height * down))
        pixels = np.asarray(Image.fromarray(scene.pixels).resize(size, Image.Resampling.BICUBIC))
        scale = np.array([size[0] / width, size[1] / height] * 2, dtype=np.float32)
        return Scene(pixels, scene.boxes * scale, scene.words)

    return change


def _padded(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene with a grey border."""
    height, width = scene.pixels.shape[:2]
    across, down = round(width * PADDING), round(height * PADDING)
    pixels = np.pad(scene.pixels, ((down, down), (across, across), (0, 0)), constant_values=GREY)
    return Scene(pixels, scene.boxes + np.array([across, down] * 2, dtype=np.float32), scene.words)


def _jpeg(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene after compression."""
    file = io.BytesIO()
    Image.fromarray(scene.pixels).save(file, "JPEG", quality=JPEG_QUALITY)
    return Scene(np.asarray(Image.open(file).convert("RGB")), scene.boxes, scene.words)


def _mirrored(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene with left and right exchanged, in the words, too."""
    width, boxes = scene.pixels.shape[1], scene.boxes.copy()
    boxes[:, [0, 2]] = width - scene.boxes[:, [2, 0]]
    return Scene(np.ascontiguousarray(scene.pixels[:, ::-1]), boxes, mirror_words(scene.words))


def _brightness(factor: float) -> Change:
    """Return the change of all grey levels by a factor."""

    def change(scene: Scene, rng: np.random.Generator) -> Scene:
        return Scene(_levels(scene.pixels * np.float32(factor)), scene.boxes, scene.words)

    return change


def _noisy(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene with noise."""
    noise = rng.normal(0, NOISE_LEVELS, scene.pixels.shape)
    return Scene(_levels(scene.pixels + noise), scene.boxes, scene.words)


def _grey(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return a scene without colours; words for colours stay, and may then mean nothing."""
    grey = _levels(scene.pixels @ LUMINANCE)
    return Scene(np.repeat(grey[..., None], 3, axis=2), scene.boxes, scene.words)


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


PICTURES: dict[str, Change] = {
    "x0.5": _resized(0.5, 0.5),
    "x1.5": _resized(1.5, 1.5),
    "2:1": _resized(2, 1),
    "padded": _padded,
    "JPEG 30": _jpeg,
    "mirrored": _mirrored,
    "brightness 0.6": _brightness(0.6),
    "brightness 1.4": _brightness(1.4),
    "noise": _noisy,
    "grey": _grey,
}
"""Name -> change of the picture, with its boxes and, for the mirror, its words."""
SCENES = ("one object alone", "target erased", "words of another scene", "nonsense")
"""Changes of what is meant. In the last three the expression means nothing that is there, except by chance."""
MEANINGLESS = SCENES[1:]
"""Changes after which the answer should be that nothing is meant; the boxes are those of the former target."""
INITIAL_BOXES = ("tiny", "corner", "another object")
"""Names of initial boxes; see :func:`initial_box`."""
NAMES = (*PHRASINGS, *PICTURES, *SCENES)
"""Names of all perturbations of a sample."""


def perturbed(sample: Sample, name: str, dataset: GroundingDataset, seed: int = 0) -> Sample:
    """Return a sample after a perturbation.

    Args:
        sample: a sample of the data set.
        name: one of :data:`NAMES`.
        dataset: data set of the sample, for the objects of its scene and the words of others.
        seed: seed of noise, typing errors and choices.

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in NAMES:
        raise unknown("perturbation", name, NAMES)
    image = sample.query.image
    key = image.key if name in PICTURES else sample.query.key  # the expressions of a picture share its changed pixels
    rng = np.random.default_rng([seed, zlib.crc32(f"{name}/{key}".encode())])
    if name in PHRASINGS or name in ("words of another scene", "nonsense"):
        words, boxes = _words(sample, name, dataset, rng), sample.boxes
    else:
        scene = Scene(image.array(), np.asarray(sample.boxes, dtype=np.float32), sample.query.expression)
        scene = PICTURES[name](scene, rng) if name in PICTURES else _erased(scene, sample, name, dataset)
        words, boxes = scene.words, scene.boxes.astype(np.float32)
        image = ArrayImage(scene.pixels)
    query = Query(image, words, f"{sample.query.key}?{name}")
    return Sample(query, boxes, sample.category, sample.ref_id, sample.ann_id, sample.sent_id, sample.image_id,
                  sample.split, sample.kind)  # fmt: skip


def _words(sample: Sample, name: str, dataset: GroundingDataset, rng: np.random.Generator) -> str:
    """Return the words of a sample after a change of its words alone."""
    if name in PHRASINGS:
        return PHRASINGS[name](sample.query.expression, rng)
    if name == "nonsense":
        return " ".join(["the", *(_nonsense_word(rng) for _ in range(NONSENSE_WORDS))])
    while (other := dataset[int(rng.integers(len(dataset)))]).image_id == sample.image_id:
        pass
    return other.query.expression


def _nonsense_word(rng: np.random.Generator) -> str:
    syllables = ("".join((rng.choice(list(CONSONANTS)), rng.choice(list(VOWELS)))) for _ in range(rng.integers(2, 4)))
    return "".join(syllables)


def _erased(scene: Scene, sample: Sample, name: str, dataset: GroundingDataset) -> Scene:
    """Return a scene without its targets, or without the other objects."""
    objects = dataset.objects(sample.image_id)
    targets = _target_rows(objects.boxes, sample.boxes)
    rows = targets if name == "target erased" else [i for i in range(len(objects.boxes)) if i not in targets]
    mask = np.zeros(scene.pixels.shape[:2], dtype=bool)
    if isinstance(dataset, HasSegments):
        segments = dataset.segments(sample.image_id)
        spared = np.isin(segments, [i + 1 for i in range(len(objects.boxes)) if i not in rows])
        mask = ndimage.binary_dilation(np.isin(segments, [i + 1 for i in rows]), iterations=RIM_PX) & ~spared
    else:
        for x1, y1, x2, y2 in np.rint(objects.boxes[rows]).astype(int):
            mask[y1:y2, x1:x2] = True
        for x1, y1, x2, y2 in np.rint(scene.boxes).astype(int) if name == "one object alone" else ():
            mask[y1:y2, x1:x2] = False
    return Scene(filled(scene.pixels, mask), scene.boxes, scene.words)


def _target_rows(objects: np.ndarray, targets: np.ndarray) -> list[int]:
    """Return the rows of the objects (N, 4) that are targets (k, 4)."""
    distances = np.abs(objects[None] - np.asarray(targets)[:, None]).sum(axis=2)
    return [int(row) for row in distances.argmin(axis=1)] if len(targets) else []


def filled(pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return pixels (H, W, 3) whose masked ones, bool (H, W), continue their surroundings."""
    if mask.all() or not mask.any():
        return pixels
    nearest = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    nearest = cast(np.ndarray, nearest)
    smooth = ndimage.gaussian_filter(pixels[tuple(nearest)].astype(np.float32), (2, 2, 0))
    return np.where(mask[..., None], _levels(smooth), pixels)


def initial_box(sample: Sample, name: str, dataset: GroundingDataset) -> np.ndarray:
    """Return a bad initial box of a sample, ``xyxy`` pixels (4,).

    ``tiny`` has a twentieth of the picture's sides and lies in its middle, ``corner`` has a fifth of them and lies in
    the upper left corner, and ``another object`` is the object of the scene that is farthest from the target (the
    corner where there is none).

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in INITIAL_BOXES:
        raise unknown("initial box", name, INITIAL_BOXES)
    scale = np.array([*sample.query.image.size] * 2, dtype=np.float32)
    if name == "tiny":
        return np.array([0.475, 0.475, 0.525, 0.525], dtype=np.float32) * scale
    boxes = dataset.objects(sample.image_id).boxes if name == "another object" else np.zeros((0, 4), np.float32)
    others = np.delete(boxes, _target_rows(boxes, sample.boxes), axis=0) if len(boxes) else boxes
    if not len(others):
        return np.array([0, 0, 0.2, 0.2], dtype=np.float32) * scale
    centers, target = others[:, :2] + others[:, 2:], sample.boxes[0, :2] + sample.boxes[0, 2:]
    return others[np.linalg.norm(centers - target, axis=1).argmax()].astype(np.float32)
