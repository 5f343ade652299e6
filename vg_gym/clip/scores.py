"""Named CLIP scores of a box for an expression: the candidates for a reward.

Plain cosine can be gamed (a part of the object often scores as well as the whole), so the others compare. For each,
``benchmarks/clip_scores.py`` measures the correlation with IoU and where its maximum lies.

- ``cosine``: cos(box, text).
- ``context``: cosine minus half the cosine of the ring around the box (the box grown 1.5 times, without the box).
- ``surround``: cosine of the box's feature mixed with a quarter of the whole image's: the dense analogue of a crop with
  a blurred surround (ReCLIP, Subramanian et al., ACL 2022).
- ``contrast``: cosine minus the highest cosine the box has with other expressions (a fixed bank of prompts).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_cells, box_mean, box_sum, unit
from vg_gym.registry import unknown

RING = 1.5
RING_WEIGHT = 0.5
SURROUND_WEIGHT = 0.25


def _cosine(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Cosines (B, N) of features (B, N, D), any length, with unit texts (B, D)."""
    return np.einsum("bnd,bd->bn", unit(features), text)


def cosine(table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: np.ndarray | None) -> np.ndarray:
    """Plain cosine; shapes as :func:`score_boxes`."""
    return _cosine(box_mean(table, boxes), text)


def context(table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: np.ndarray | None) -> np.ndarray:
    """Cosine of the box minus half the cosine of the ring around it; shapes as :func:`score_boxes`."""
    outer = box_ops.fit_inside(box_ops.scale(boxes, RING))
    inside = box_sum(table, boxes)
    return _cosine(inside, text) - RING_WEIGHT * _cosine(box_sum(table, outer) - inside, text)


def surround(table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: np.ndarray | None) -> np.ndarray:
    """Cosine of the box's feature mixed with the whole image's; shapes as :func:`score_boxes`."""
    grid = table.shape[1] - 1
    whole = table[:, -1:, -1:, :].reshape(len(table), 1, -1) / grid**2
    return _cosine(box_sum(table, boxes) / box_cells(boxes, grid)[..., None] + SURROUND_WEIGHT * whole, text)


def contrast(table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: np.ndarray | None) -> np.ndarray:
    """Cosine minus the highest cosine with ``others`` (K, D); shapes as :func:`score_boxes`."""
    assert others is not None, "the contrast score compares with other expressions"
    region = unit(box_mean(table, boxes))
    rivals = np.einsum("bnd,kd->bnk", region, others).max(axis=-1)
    return np.einsum("bnd,bd->bn", region, text) - rivals


Score = Callable[[np.ndarray, np.ndarray, np.ndarray, "np.ndarray | None"], np.ndarray]
SCORES: dict[str, Score] = {"cosine": cosine, "context": context, "surround": surround, "contrast": contrast}
"""Name -> score over dense features."""


def score_boxes(
    name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: np.ndarray | None = None
) -> np.ndarray:
    """Score boxes densely.

    Args:
        name: a key of :data:`SCORES`.
        table: summed-area tables of dense features (B, g+1, g+1, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, 4) or (B, N, 4).
        others: unit embeddings (K, D) of the bank that ``contrast`` compares with.

    Returns:
        float32 (B,) or (B, N), in [-2, 2].

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    if boxes.ndim == 2:
        return score_boxes(name, table, text, boxes[:, None], others)[:, 0]
    return SCORES[name](table, text, boxes, others).astype(np.float32)


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
