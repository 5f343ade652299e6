"""Segmentation of an image at several scales, by SLIC (Achanta et al. 2012) and watershed (Neubert & Protzel 2014)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vg_gym.baselines.masks import from_masks
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.errors import importing, unknown
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals


def _skimage() -> Any:
    with importing("segmentation", "scikit-image", "segments"):
        from skimage import color, filters, segmentation
    return color, filters, segmentation


def slic(image: np.ndarray, count: int) -> np.ndarray:
    """Return labels int (H, W) of about ``count`` superpixels."""
    _, _, segmentation = _skimage()
    return segmentation.slic(image, n_segments=count, compactness=10, start_label=0)


def watershed(image: np.ndarray, count: int) -> np.ndarray:
    """Return labels int (H, W) of about ``count`` basins of the gradient, flooded from a regular grid of markers."""
    color, filters, segmentation = _skimage()
    lab = color.rgb2lab(image)
    edges = np.sqrt(sum(filters.sobel(lab[..., i]) ** 2 for i in range(3)))
    return segmentation.watershed(edges, markers=count, compactness=0.001) - 1


METHODS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"slic": slic, "watershed": watershed}
"""Name -> function from an image (H, W, 3) uint8 and a number of parts to labels int (H, W)."""


class SegmentProposer:
    """Proposer of segments with masks.

    Args:
        methods: names of :data:`METHODS`, joined by ``+``.
        counts: numbers of segments, from coarse to fine.
        smallest: minimum area of a segment, as a fraction of the image's area.
        device: unused; segmentation runs on the CPU.

    Raises:
        VGGymError: a method is unknown, or scikit-image is missing.
    """

    def __init__(
        self,
        methods: str = "slic+watershed",
        counts: Sequence[PositiveInt] = (12, 24, 48),
        smallest: UnitInterval = 0.004,
        device: str = "cpu",
    ):
        self.name, self.counts, self.smallest = "segments", tuple(counts), smallest
        for method in methods.split("+"):
            if method not in METHODS:
                raise unknown("segmentation", method, METHODS)
        self.fingerprint = fingerprint(methods, self.counts, smallest)
        self.methods = [METHODS[method] for method in methods.split("+")]

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return proposals with masks of every image (H, W, 3) uint8; all have confidence 1."""
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> Proposals:
        masks = []
        for method in self.methods:
            for count in self.counts:
                labels = method(image, count)
                masks += [labels == label for label in np.unique(labels)]
        large = np.array([mask for mask in masks if mask.mean() >= self.smallest])
        return from_masks(large, np.ones(len(large)), image)
