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
from vg_gym.clip.region_features import box_sum, dot, l2_normalize
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
    """Named score, which compares a box with a second region; accepts arrays or tensors.

    Args:
        formula: function of two features (..., D), texts, negative texts (K, D) or None, and the function of inner
            products. It returns scores (...,). The first feature is the box's, the second that of the second region.
        second: function from boxes to the second regions in dense features, or None.
        parts: function of the unit features of boxes, the feature sums over them and over their second regions, and the
            boxes (B, N, 4). It returns the two features of ``formula`` for dense features.
        view: second view of each box if crops are encoded: ``wider``, the crop grown :data:`RING_SCALE` times;
            ``isolated``, the image blurred outside the box; or empty, no second view.
    """

    formula: Callable[..., np.ndarray]
    second: Callable[[np.ndarray], np.ndarray] | None = None
    parts: Callable[..., tuple[np.ndarray, np.ndarray | None]] = lambda region, inside, outer, boxes: (region, None)
    view: str = ""


def _cosine(first, second, text, negatives, dot):
    return dot(first, text)


def _context(first, second, text, negatives, dot):
    return dot(first, text) - RING_WEIGHT * dot(second, text)


def _surround(first, second, text, negatives, dot):
    return dot(l2_normalize(first + SURROUND_WEIGHT * second), text)


def _contrast(first, second, text, negatives, dot):
    if negatives is None:
        raise ValueError("the contrast score compares with other texts: pass their embeddings as negatives")
    if isinstance(first, np.ndarray):  # the last bits of a matrix product would depend on the number of rows
        return dot(first, text) - dot(first[..., None, :], negatives).max(-1)
    return dot(first, text) - (first @ negatives.T).amax(-1)


def _ring(boxes: np.ndarray) -> np.ndarray:
    return box_ops.clamp(box_ops.scale(boxes, RING_SCALE), 0, 1)


def _ring_parts(region, inside, outer, boxes):
    return region, l2_normalize(outer - inside)


def _whole(boxes: np.ndarray) -> np.ndarray:
    whole = box_ops.namespace(boxes).zeros_like(boxes)
    whole[..., 2:] = 1
    return whole


def _mean_parts(region, inside, outer, boxes):
    return inside / box_ops.area(boxes).clip(1e-6)[..., None], outer


SCORES: dict[str, Score] = {
    "cosine": Score(_cosine),
    "context": Score(_context, _ring, _ring_parts, "wider"),
    "surround": Score(_surround, _whole, _mean_parts, "isolated"),
    "contrast": Score(_contrast),
}
"""Scores by name."""


def score_of(name: str) -> Score:
    """Return a score by name.

    Raises:
        VGGymError: the name is unknown.
    """
    if name not in SCORES:
        raise unknown("score", name, SCORES)
    return SCORES[name]


def score_boxes(
    name: str, table: np.ndarray, text: np.ndarray, boxes: np.ndarray, negatives: np.ndarray | None = None
) -> np.ndarray:
    """Return the scores of boxes, (B, N).

    Args:
        name: a key of :data:`SCORES`.
        table: summed-area tables of dense features (B, g+1, g+1, D).
        text: unit text embeddings (B, D).
        boxes: normalised boxes (B, N, 4).
        negatives: unit embeddings (K, D) of the texts that ``contrast`` compares with.

    Raises:
        VGGymError: the name is unknown.
    """
    return measure(name, partial(box_sum, table), text, boxes, negatives)[1]


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
        negatives: see :func:`score_boxes`.

    Raises:
        VGGymError: the name is unknown.
        ValueError: the score is ``contrast`` and ``negatives`` is None.
    """
    score, count = score_of(name), boxes.shape[1]
    every = (
        boxes if score.second is None else box_ops.namespace(boxes).concatenate([boxes, score.second(boxes)], axis=1)
    )
    summed = sums(every)
    inside, outer = summed[:, :count], summed[:, count:]
    region = l2_normalize(inside)
    return region, score.formula(*score.parts(region, inside, outer, boxes), text[:, None], negatives, dot)


THINGS = (
    "person man woman child chair car book bottle cup bowl table couch bed tv dog cat horse sheep cow elephant bear "
    "zebra giraffe bird boat bus train truck motorcycle bicycle umbrella handbag tie pizza cake sandwich banana laptop "
    "phone clock"
).split()
"""Frequent things of photographs."""


def negative_prompts(clip: ClipEncoder) -> list[str]:
    """Return prompts for ``contrast``, the last of which does not name an object.

    They are all coloured shapes for a CLIP of RefShapes, and frequent things for others. A CLIP with its own
    vocabulary has those that it knows or, if it knows none, all its words.
    """
    if clip.knows_shapes_alone:
        from vg_gym.data.worlds.refshapes.scenes import COLORS, SHAPES

        return [f"the {color} {shape}" for color in COLORS for shape in SHAPES] + ["the shape"]
    if clip.words is not None:
        things = [thing for thing in THINGS if thing in clip.words] or clip.words
        return [f"a {thing}" for thing in things] + [""]
    return [f"a photo of a {thing}" for thing in THINGS] + ["a photo of the background"]


def negative_texts(clip: ClipEncoder, score: str) -> np.ndarray | None:
    """Return unit embeddings (N, D) of the texts that ``contrast`` compares with, or None for the other scores."""
    return clip.encode_text(negative_prompts(clip)) if score == "contrast" else None
