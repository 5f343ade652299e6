"""Named CLIP scores of a box for an expression, which can serve as rewards.

Plain cosine can be gamed, because a part of the object often scores as high as the whole. The other scores compare the
box with something else. ``experiments/clip_scores.py`` measures each score's correlation with IoU and the place of its
maximum.

- ``cosine``: cos(box, text).
- ``context``: cosine minus half the cosine of the ring around the box (the box scaled 1.5 times, without the box).
- ``surround``: cosine of the box's feature plus a quarter of the whole image's feature, the dense analogue of a crop
  with a blurred surround (ReCLIP, Subramanian et al., ACL 2022).
- ``contrast``: cosine minus the highest cosine of the box with other texts (:func:`negative_prompts`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_sum, dot, l2_normalize
from vg_gym.errors import unknown

if TYPE_CHECKING:
    from vg_gym.clip.encoder import ClipEncoder

RING_SCALE = 1.5
"""Ratio of the sides of the ring's outer edge to those of the box."""
RING_WEIGHT = 0.5
"""Weight of the ring's cosine relative to the box's."""
SURROUND_WEIGHT = 0.25
"""Weight of the whole image's feature relative to the box's."""


@dataclass(frozen=True)
class Score:
    """Named score, which accepts arrays or tensors.

    Args:
        combine: function of feature sums, boxes (B, N, 4), texts (B, 1, D) and negatives (K, D) or None that returns
            unit features of the boxes (B, N, D) and scores (B, N). The sums are (B, N, D) over the boxes, or
            (B, 2 N, D) over boxes and wider boxes; they may be overwritten.
        wider: function from boxes to the wider boxes that the score also reads; None if it reads only the boxes.
    """

    combine: Callable[..., tuple[np.ndarray, np.ndarray]]
    wider: Callable[[np.ndarray], np.ndarray] | None = None


def _cosine(sums, boxes, text, negatives):
    region = l2_normalize(sums)
    return region, dot(region, text)


def _context(sums, boxes, text, negatives):
    count = boxes.shape[1]
    sums[:, count:] -= sums[:, :count]  # the ring: the wider box without the box
    features = l2_normalize(sums)
    cosines = dot(features, text)
    return features[:, :count], cosines[:, :count] - RING_WEIGHT * cosines[:, count:]


def _surround(sums, boxes, text, negatives):
    inside, whole = sums[:, : boxes.shape[1]], sums[:, boxes.shape[1] :]
    mean = inside / box_ops.area(boxes).clip(1e-6)[..., None]
    return l2_normalize(inside), dot(l2_normalize(mean + SURROUND_WEIGHT * whole), text)


def _contrast(sums, boxes, text, negatives):
    if negatives is None:
        raise ValueError("the contrast score compares with other texts: pass their embeddings as negatives")
    region = l2_normalize(sums)
    if isinstance(region, np.ndarray):  # the last bits of a matrix product would depend on the number of rows
        return region, dot(region, text) - dot(region[..., None, :], negatives).max(-1)
    return region, dot(region, text) - (region @ negatives.T).amax(-1)


def _ring(boxes: np.ndarray) -> np.ndarray:
    return box_ops.clamp(box_ops.scale(boxes, RING_SCALE), 0, 1)


def _whole(boxes: np.ndarray) -> np.ndarray:
    whole = box_ops.namespace(boxes).zeros_like(boxes)
    whole[..., 2:] = 1
    return whole


SCORES: dict[str, Score] = {
    "cosine": Score(_cosine),
    "context": Score(_context, _ring),
    "surround": Score(_surround, _whole),
    "contrast": Score(_contrast),
}
"""Scores over dense features by name."""


def score_boxes(
    name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, negatives: np.ndarray | None = None
) -> np.ndarray:
    """Return the scores of boxes, (B,) or (B, N).

    Args:
        name: a key of :data:`SCORES`.
        table: summed-area tables of dense features (B, g+1, g+1, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, 4) or (B, N, 4).
        negatives: unit embeddings (K, D) of the texts that ``contrast`` compares with.

    Raises:
        VGGymError: the name is unknown.
    """
    return measure_boxes(name, table, text, boxes, negatives)[1]


def measure_boxes(
    name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, negatives: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit features and scores of boxes.

    Args:
        name: a key of :data:`SCORES`.
        table: summed-area tables of dense features (B, g+1, g+1, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, 4) or (B, N, 4).
        negatives: unit embeddings (K, D) of the texts that ``contrast`` compares with.

    Returns:
        float32 features (B, D) or (B, N, D), and scores (B,) or (B, N) in [-2, 2].

    Raises:
        VGGymError: the name is unknown.
    """
    if boxes.ndim == 2:
        features, scores = measure_boxes(name, table, text, boxes[:, None], negatives)
        return features[:, 0], scores[:, 0]
    return measure(name, partial(box_sum, table), text, boxes, negatives)


def measure(
    name: str,
    sums: Callable[[np.ndarray], np.ndarray],
    text: np.ndarray,
    boxes: np.ndarray,
    negatives: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return unit features (B, N, D) and scores (B, N) of boxes from a function that sums features over boxes.

    Accepts arrays or tensors.

    Args:
        name: a key of :data:`SCORES`.
        sums: function from normalised boxes (B, K, 4) to the sums of dense features inside them in cells, (B, K, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, N, 4).
        negatives: see :func:`measure_boxes`.

    Raises:
        VGGymError: the name is unknown.
        ValueError: the score is ``contrast`` and ``negatives`` is None.
    """
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    score, wider = SCORES[name], SCORES[name].wider
    every = boxes if wider is None else box_ops.namespace(boxes).concatenate([boxes, wider(boxes)], axis=1)
    return score.combine(sums(every), boxes, text[:, None], negatives)


def negative_prompts(words: list[str] | None) -> list[str]:
    """Return prompts for ``contrast``: all coloured shapes for RefShapes's CLIP, frequent COCO things for others."""
    if words is not None:
        from vg_gym.data.worlds.refshapes.scenes import COLORS, SHAPES

        return [f"the {color} {shape}" for color in COLORS for shape in SHAPES] + ["the shape"]
    things = (
        "person man woman child chair car book bottle cup bowl table couch bed tv dog cat horse sheep cow elephant "
        "bear zebra giraffe bird boat bus train truck motorcycle bicycle umbrella handbag tie pizza cake sandwich "
        "banana laptop phone clock"
    )
    return [f"a photo of a {thing}" for thing in things.split()] + ["a photo of the background"]


def negative_texts(clip: ClipEncoder, score: str) -> np.ndarray | None:
    """Return unit embeddings (N, D) of the texts that ``contrast`` compares with, or None for the other scores."""
    return clip.encode_text(negative_prompts(clip.words)) if score == "contrast" else None
