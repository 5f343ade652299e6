"""Score maps: where in an image CLIP sees an expression.

Score maps are what the agent sees, so they must show what CLIP knows. The similarity of single tokens points at the
right object for 69 % of RefShapes val; the *scan* used here, at every cell the best cosine of nine windows of different
sizes centred there, for 86 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_cells, l2_normalize, lattice_sums, summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.language.parsing import noun_phrases

SCAN_SIZES = ((2, 2), (2.5, 3), (3, 2.5), (3, 3), (3.5, 4.5), (4.5, 3.5), (4, 4), (5, 6), (6, 5))
"""Widths and heights of the scanned windows, in sixteenths of the image."""
MAPS_PER_TEXT = 2
"""The scan, standardised over the image; and its peak, ``exp(s * (scan - max))`` with CLIP's own logit scale s."""


def num_maps(phrases: bool) -> int:
    """M, score maps per query: two for the expression, and with ``phrases`` two for each of its noun phrases."""
    return MAPS_PER_TEXT * (3 if phrases else 1)


def texts_of(expression: str, phrases: bool) -> list[str]:
    """The texts an expression has maps of: itself, and with ``phrases`` its head and anchor, which may be empty.

    >>> texts_of("the largest star", phrases=True)
    ['the largest star', 'the largest star', '']
    """
    return [expression, *noun_phrases(expression)] if phrases else [expression]


def score_maps(
    clip: ClipEncoder,
    regions: np.ndarray,
    expressions: Sequence[str],
    phrases: bool,
    embed: Callable[[Sequence[str]], np.ndarray] | None = None,
) -> list[np.ndarray]:
    """Score maps (g, g, M), float16, of expressions about one image.

    Args:
        clip: encodes the expressions.
        regions: of the image, from :func:`scanned_regions`.
        expressions: about the image.
        phrases: also make maps of the head and anchor noun phrases.
        embed: gives embeddings (N, D) of N texts, where they are known already; default ``clip.encode_text``.
    """
    embed = embed or clip.encode_text
    found = []
    for expression in expressions:
        texts = texts_of(expression, phrases)
        # One text at a time: the last bits of an embedding may depend on what is encoded beside it.
        scans = [_scan(regions, embed([text or expression])[0], clip.grid) for text in texts]
        maps = [m * bool(text) for text, scan in zip(texts, scans, strict=True) for m in _maps(scan, clip.logit_scale)]
        found.append(np.stack(maps, axis=-1).astype(np.float16))  # an empty text has maps of zeros
    return found


def scanned_regions(dense: np.ndarray) -> np.ndarray:
    """Unit features (S * g * g, D) of the scanned windows of an image, given its dense features (g, g, D), float16."""
    grid, dim = len(dense), dense.shape[-1]
    table, windows = summed_area(dense.astype(np.float32)), scan_windows(grid)[0]
    means = np.empty((len(SCAN_SIZES), grid, grid, dim))
    for lattice, sums in zip(windows.reshape(-1, grid, grid, 4), means, strict=True):  # windows of one size
        lattice_sums(table, lattice[0, :, ::2].T, lattice[:, 0, 1::2].T, sums)
    regions = means.reshape(-1, dim)
    regions /= box_cells(windows, grid)[:, None]
    return l2_normalize(regions)


def _scan(regions: np.ndarray, text: np.ndarray, grid: int) -> np.ndarray:
    """The best cosine (g, g) of the windows at every cell, of their features (S * g * g, D) and a text's (D,)."""
    return np.einsum("nd,d->n", regions, text).reshape(len(SCAN_SIZES), grid, grid).max(axis=0)


def _maps(scan: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The scan (g, g), standardised; and its peak."""
    return (scan - scan.mean()) / max(float(scan.std()), 1e-3), np.exp(scale * (scan - scan.max()))


@lru_cache(maxsize=8)
def scan_windows(grid: int) -> np.ndarray:
    """The scanned windows (1, S * g * g, 4), normalised: S sizes centred at every cell."""
    center = (np.arange(grid, dtype=np.float32) + 0.5) / grid
    x, y = np.meshgrid(center, center)
    boxes = [np.stack([x - w / 32, y - h / 32, x + w / 32, y + h / 32], axis=-1).reshape(-1, 4) for w, h in SCAN_SIZES]
    return box_ops.fit_inside(np.concatenate(boxes)[None].astype(np.float32))
