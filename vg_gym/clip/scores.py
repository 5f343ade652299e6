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
from vg_gym.clip.dense import box_cells, box_sum, unit
from vg_gym.registry import unknown

Bank = np.ndarray | None
RING = 1.5
RING_WEIGHT = 0.5
SURROUND_WEIGHT = 0.25


def _cosine(features: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Cosines (B, N) of features (B, N, D), any length, with unit texts (B, D)."""
    return np.einsum("bnd,bd->bn", unit(features), text)


def _mean(table: np.ndarray, inside: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    return inside / box_cells(boxes, table.shape[1] - 1)[..., None]


def cosine(table: np.ndarray, inside: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank) -> np.ndarray:
    """Plain cosine; arguments as :data:`Score`."""
    return _cosine(inside, text)


def context(table: np.ndarray, inside: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank) -> np.ndarray:
    """Cosine of the box minus half the cosine of the ring around it; arguments as :data:`Score`."""
    ring = box_sum(table, box_ops.fit_inside(box_ops.scale(boxes, RING))) - inside
    return _cosine(inside, text) - RING_WEIGHT * _cosine(ring, text)


def surround(table: np.ndarray, inside: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank) -> np.ndarray:
    """Cosine of the box's feature mixed with the whole image's; arguments as :data:`Score`."""
    whole = table[:, -1:, -1:, :].reshape(len(table), 1, -1) / (table.shape[1] - 1) ** 2
    return _cosine(_mean(table, inside, boxes) + SURROUND_WEIGHT * whole, text)


def contrast(table: np.ndarray, inside: np.ndarray, text: np.ndarray, boxes: np.ndarray, others: Bank) -> np.ndarray:
    """Cosine minus the highest cosine with ``others``; arguments as :data:`Score`."""
    assert others is not None, "the contrast score compares with other expressions"
    region = unit(inside)
    rivals = np.einsum("bnd,kd->bnk", region, others).max(axis=-1)
    return np.einsum("bnd,bd->bn", region, text) - rivals


Score = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Bank], np.ndarray]
"""(tables (B, g+1, g+1, D), feature sums inside the boxes (B, N, D), texts (B, D), boxes (B, N, 4), bank) -> (B, N)."""
SCORES: dict[str, Score] = {"cosine": cosine, "context": context, "surround": surround, "contrast": contrast}
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
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    if boxes.ndim == 2:
        features, scores = measure_boxes(name, table, text, boxes[:, None], others)
        return features[:, 0], scores[:, 0]
    inside = box_sum(table, boxes)
    return unit(inside), SCORES[name](table, inside, text, boxes, others).astype(np.float32)


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
