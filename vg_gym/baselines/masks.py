"""Conversion of segmentation masks to proposals."""

from __future__ import annotations

import numpy as np

from vg_gym.features.proposals import proposals
from vg_gym.types import Proposals


def from_masks(masks: np.ndarray, scores: np.ndarray, image: np.ndarray, largest: float = 1.0) -> Proposals:
    """Return one proposal per mask, with its tight box; empty masks are skipped.

    Args:
        masks: bool (P, H, W).
        scores: confidences (P,).
        image: uint8 (H, W, 3).
        largest: maximum side of a box, as a fraction of the image's side; larger boxes are skipped.
    """
    height, width = image.shape[:2]
    boxes = np.array([mask_box(mask) for mask in masks], dtype=np.float32).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    small = (sides <= largest * np.array([width, height])).all(axis=1) & (sides > 0).all(axis=1)
    return proposals(boxes[small], scores[small], [""] * int(small.sum()), image, masks[small])


def mask_box(mask: np.ndarray) -> np.ndarray:
    """Return the tight ``xyxy`` pixel box (4,) of a mask (H, W), right and bottom exclusive; zeros for an empty mask.

    >>> mask_box(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool)).tolist()
    [1.0, 1.0, 3.0, 2.0]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return np.zeros(4, dtype=np.float32)
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a mask to bool (height, width) by nearest neighbours.

    >>> resize_mask(np.array([[True, False]]), 2, 4).astype(int).tolist()
    [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    if mask.shape == (height, width):
        return mask
    pairs = zip(mask.shape, (height, width), strict=True)
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in pairs)
    return mask[rows][:, columns]
