"""Named CLIP scores of a box for an expression: the candidates for a reward.

Plain cosine can be gamed (a part of the object often scores as well as the whole), so the others compare. For each,
``experiments/clip_scores.py`` measures the correlation with IoU and where its maximum lies.

- ``cosine``: cos(box, text).
- ``context``: cosine minus half the cosine of the ring around the box (the box grown 1.5 times, without the box).
- ``surround``: cosine of the box's feature mixed with a quarter of the whole image's: the dense analogue of a crop with
  a blurred surround (ReCLIP, Subramanian et al., ACL 2022).
- ``contrast``: cosine minus the highest cosine the box has with other expressions (a fixed bank of prompts).
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

Bank = np.ndarray | None
RING = 1.5
RING_WEIGHT = 0.5
SURROUND_WEIGHT = 0.25


@dataclass(frozen=True)
class Score:
    """A named score, for arrays and tensors alike.

    Args:
        combine: (unit features (B, N, D) of the boxes, feature sums inside them, those inside the wider boxes, boxes
            (B, N, 4), texts (B, 1, D), bank (K, D)) -> scores (B, N).
        wider: boxes -> the wider boxes that the score also looks at; None where it looks at none.
    """

    combine: Callable[..., np.ndarray]
    wider: Callable[[np.ndarray], np.ndarray] | None = None


def _cosine(region, inside, wide, boxes, text, others):
    return dot(region, text)


def _context(region, inside, wide, boxes, text, others):
    return dot(region, text) - RING_WEIGHT * dot(l2_normalize(wide - inside), text)


def _surround(region, inside, wide, boxes, text, others):
    mean = inside / box_ops.area(boxes).clip(1e-6)[..., None]
    return dot(l2_normalize(mean + SURROUND_WEIGHT * wide), text)


def _contrast(region, inside, wide, boxes, text, others):
    assert others is not None, "the contrast score compares with other expressions"
    if isinstance(region, np.ndarray):  # not a matrix product, whose last bits depend on the number of rows
        return dot(region, text) - dot(region[..., None, :], others).max(-1)
    return dot(region, text) - (region @ others.T).amax(-1)


def _ring(boxes: np.ndarray) -> np.ndarray:
    return box_ops.clamp(box_ops.scale(boxes, RING), 0, 1)


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
"""Name -> score over dense features."""


def score_boxes(name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank = None) -> np.ndarray:
    """Score boxes densely; :func:`measure_boxes` without the features."""
    return measure_boxes(name, table, text, boxes, others)[1]


def measure_boxes(
    name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank = None
) -> tuple[np.ndarray, np.ndarray]:
    """Unit features and scores of boxes.

    Args:
        name: a key of :data:`SCORES`.
        table: summed-area tables of dense features (B, g+1, g+1, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, 4) or (B, N, 4).
        others: unit embeddings (K, D) of the bank that ``contrast`` compares with.

    Returns:
        float32 features (B, D) or (B, N, D), and scores (B,) or (B, N) in [-2, 2].

    Raises:
        VGGymError: the name is unknown.
    """
    if boxes.ndim == 2:
        features, scores = measure_boxes(name, table, text, boxes[:, None], others)
        return features[:, 0], scores[:, 0]
    return measure(name, partial(box_sum, table), text, boxes, others)


def measure(
    name: str, sums: Callable[[np.ndarray], np.ndarray], text: np.ndarray, boxes: np.ndarray, others: Bank = None
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`measure_boxes`, given how to sum features over boxes (B, N, 4) -> (B, N, D); arrays or tensors."""
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    score, count = SCORES[name], boxes.shape[1]
    if score.wider is None:
        found = sums(boxes)
    else:
        found = sums(box_ops.namespace(boxes).concatenate([boxes, score.wider(boxes)], axis=1))
    inside = found[:, :count]
    region = l2_normalize(inside)
    return region, score.combine(region, inside, found[:, count:], boxes, text[:, None], others)


def contrast_bank(words: list[str] | None) -> list[str]:
    """Prompts for ``contrast``: every colour-shape of RefShapes for its CLIP, frequent COCO things for others."""
    if words is not None:
        from vg_gym.data.scenes import COLOURS, SHAPES

        return [f"the {colour} {shape}" for colour in COLOURS for shape in SHAPES] + ["the shape"]
    things = (
        "person man woman child chair car book bottle cup bowl table couch bed tv dog cat horse sheep cow elephant "
        "bear zebra giraffe bird boat bus train truck motorcycle bicycle umbrella handbag tie pizza cake sandwich "
        "banana laptop phone clock"
    )
    return [f"a photo of a {thing}" for thing in things.split()] + ["a photo of the background"]


def negative_texts(clip: ClipEncoder, score: str) -> np.ndarray | None:
    """Unit embeddings (N, D) of the texts that ``contrast`` compares with; None for the other scores."""
    return clip.encode_text(contrast_bank(clip.words)) if score == "contrast" else None
