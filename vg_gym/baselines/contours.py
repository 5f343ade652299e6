"""Proposals without a detector: CLIP's best windows, with edges moved to the end of the contours in them.

CLIP's dense features locate objects roughly, and contours in the pixels locate their edges. The proposer learns no
weights and reads no annotated boxes, so agents and pipelines can use it in place of a detector. The idea that contours
wholly inside a box indicate an object is from Edge Boxes (Zitnick & Dollár, ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.loader import load_clip
from vg_gym.clip.region_features import box_sum, l2_normalize, summed_area
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, negative_prompts
from vg_gym.config import NonNegativeFloat, PositiveInt, UnitInterval
from vg_gym.features.edge_maps import SIDE, edge_maps
from vg_gym.features.proposals import proposals, select
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals

WINDOW_SIDES = (1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
"""Sides of windows, as fractions of the image's side."""
MAX_ASPECT_RATIO = 2.5
"""Maximum ratio of a window's longer side to its shorter side."""
WINDOW_STEP = 1 / 16
"""Distance between neighbouring windows, as a fraction of the image's side."""
SPANS = np.concatenate(
    [np.arange(0, 1 - side + WINDOW_STEP / 2, WINDOW_STEP)[:, None] + np.array([0, side]) for side in WINDOW_SIDES]
).astype(np.float32)
"""Start and end of windows along an axis, normalised (S, 2)."""
_RING_SPANS = np.clip(SPANS + np.array([-0.5, 0.5], np.float32) * (RING_SCALE - 1) * np.diff(SPANS), 0, 1)
_RATIOS = np.diff(SPANS) / np.diff(SPANS)[:, 0]
_ROWS, _COLUMNS = np.nonzero(np.maximum(_RATIOS, 1 / _RATIOS) <= MAX_ASPECT_RATIO)
"""Spans along y and along x that form a window, (N,) each."""
WINDOWS, RINGS = (
    np.concatenate([spans[_COLUMNS], spans[_ROWS]], axis=1)[:, [0, 2, 1, 3]] for spans in (SPANS, _RING_SPANS)
)
"""All windows, and the windows enlarged by :data:`RING_SCALE`, normalised ``xyxy`` (N, 4)."""
GAP_PIXELS = 2
"""Width of the contour-free strip that must follow an edge of a box, in pixels of an edge map."""
MIN_SIDE_PIXELS = 3
"""Minimum side of a box after its edges have moved, in pixels of an edge map."""
EDGE_ROUNDS = 3
"""Number of rounds in which all edges move. The position of one edge decides which contours the others meet."""


class ContourProposer:
    """Proposer of windows that resemble a prompt, with each edge moved to the nearest gap between contours.

    The score of a window is the highest ``context`` score over the prompts (:mod:`vg_gym.clip.scores`). Each edge moves
    outwards, from well inside the window, to the first gap between contours. An edge without a gap within reach stays
    in place, for example on a texture.

    Args:
        clip: name of the CLIP.
        count: number of windows whose edges move.
        overlap: IoU above which the lower-scored of two windows, or of two final boxes, is removed.
        contrast: minimum difference of neighbouring pixels at a contour, of 255.
        reach: maximum shift of an edge in either direction, in sides of the window.
        device: torch device.
    """

    def __init__(
        self,
        clip: str = "refshapes",
        count: PositiveInt = 24,
        overlap: UnitInterval = 0.5,
        contrast: NonNegativeFloat = 40.0,
        reach: UnitInterval = 0.35,
        device: str = "cpu",
    ):
        self.name, self.clip = "contours", load_clip(clip, device)
        self.count, self.overlap, self.contrast, self.reach = count, overlap, contrast, reach
        self.prompts = negative_prompts(self.clip)[:-1]  # the last prompt does not name an object
        self.fingerprint = fingerprint(self.name, count, overlap, contrast, reach, self.clip.fingerprint)
        self._texts: np.ndarray | None = None

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return boxes of every image (H, W, 3) uint8, each labelled with its most similar prompt.

        The confidence is the logistic function of the box's score, standardised by the mean and standard deviation of
        the scores of all windows.
        """
        if self._texts is None:
            self._texts = self.clip.encode_text(self.prompts)
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> Proposals:
        table = summed_area(self.clip.encode_dense([image]))
        scores = self._scores(*(box_sum(table, boxes[None])[0] for boxes in (WINDOWS, RINGS))).max(axis=1)
        level, spread = scores.mean(), scores.std() + 1e-6
        windows = proposals(WINDOWS, scores, [""] * len(WINDOWS), image, min_side=0)
        chosen = select(windows, -np.inf, self.count, max_overlap=self.overlap).boxes
        contours = edge_maps(image).max(axis=-1) > self.contrast
        boxes = to_gaps(chosen, contours, self.reach)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE_PIXELS / SIDE).all(axis=1)]
        wider = box_ops.clamp(box_ops.scale(boxes, RING_SCALE), 0, 1)
        scores = self._scores(*np.split(box_sum(table, np.concatenate([boxes, wider])[None])[0], 2))
        labels = [self.prompts[i] for i in scores.argmax(axis=1)]
        confidences = 1 / (1 + np.exp((level - scores.max(axis=1)) / spread))
        size = np.tile(image.shape[1::-1], 2)
        return select(proposals(boxes * size, confidences, labels, image), max_overlap=self.overlap)

    def _scores(self, inside: np.ndarray, wider: np.ndarray) -> np.ndarray:
        """Return the context score of each box and prompt (N, P).

        Args:
            inside: sums of features over the boxes (N, D).
            wider: sums of features over the boxes enlarged by :data:`RING_SCALE` (N, D).
        """
        assert self._texts is not None
        ring = l2_normalize(wider - inside)
        return (l2_normalize(inside) - RING_WEIGHT * ring) @ self._texts.T


def to_gaps(boxes: np.ndarray, contours: np.ndarray, reach: float) -> np.ndarray:
    """Move the edges of boxes outwards, from inside, to the first gap between contours.

    Edges without a gap within reach stay in place.

    Args:
        boxes: normalised ``xyxy`` (N, 4).
        contours: mask of pixels that differ from their neighbours, bool (S, S).
        reach: maximum shift of an edge in either direction, in sides of the box.

    Returns:
        Normalised boxes (N, 4). Edges that moved are on whole pixels.

    >>> contours = np.zeros((100, 100), bool); contours[20:61, 30:51] = True
    >>> to_gaps(np.array([[0.25, 0.25, 0.55, 0.55]]), contours, 0.4).tolist()
    [[0.3, 0.2, 0.5, 0.6]]
    """
    side = len(contours)
    before = [np.pad(contours.cumsum(axis), [(1, 0) if a == axis else (0, 0) for a in (0, 1)]) for axis in (0, 1)]
    moved = boxes * float(side)
    for _ in range(EDGE_ROUNDS):
        for axis in (0, 1):
            low, high = moved[:, axis].copy(), moved[:, axis + 2].copy()
            first = np.floor(moved[:, 1 - axis]).astype(int).clip(0, side)
            last = np.ceil(moved[:, 3 - axis]).astype(int).clip(0, side)
            across = before[0] if axis == 0 else before[1].T
            sums = (across[last] - across[first]).cumsum(axis=1)
            sums = np.pad(sums, ((0, 0), (1 + GAP_PIXELS, 1 + GAP_PIXELS)), mode="edge")
            free = (
                sums[:, GAP_PIXELS:] == sums[:, :-GAP_PIXELS]
            )  # free[:, x]: no contour in the GAP_PIXELS columns before column x
            middle, far = (low + high) / 2, np.maximum(reach * (high - low), MIN_SIDE_PIXELS)
            at = np.arange(side + 1)
            down, up = free[:, : side + 1], free[:, 1 + GAP_PIXELS :]  # a gap counts if a contour ends right beside it
            down = down & (at <= np.minimum(middle, low + far)[:, None]) & (at >= np.floor(low - far)[:, None])
            up = up & (at >= np.maximum(middle, high - far)[:, None]) & (at <= np.ceil(high + far)[:, None])
            moved[:, axis] = np.where(down.any(axis=1), side - down[:, ::-1].argmax(axis=1), low)
            moved[:, axis + 2] = np.where(up.any(axis=1), up.argmax(axis=1), high)
    return (moved / side).astype(boxes.dtype)
