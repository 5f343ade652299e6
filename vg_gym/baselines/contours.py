"""Boxes without a detector: CLIP's best windows, moved to where the contours in them end.

CLIP's dense features know roughly where things are, pixels know where they end. No weights are learned for it and no
box is read: it is a proposer for agents and pipelines whose makers have no detector. That contours wholly inside a box
make an object likely is from Edge Boxes (Zitnick & Dollár, ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_sum, l2_normalize, lattice_sums, summed_area
from vg_gym.clip.encoder import load_clip
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, negative_prompts
from vg_gym.config import NonNegativeFloat, PositiveInt, UnitInterval
from vg_gym.features.edge_maps import SIDE, edge_maps
from vg_gym.features.proposals import proposals, select
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals

SIDES = (1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1.0)
"""Of windows, as fractions of the image's."""
LONGEST = 2.5
"""Longer side of a window over its shorter one, at most."""
STEP = 1 / 16
"""Between windows, as a fraction of the image's side."""
SPANS = np.concatenate(
    [np.arange(0, 1 - side + STEP / 2, STEP)[:, None] + np.array([0, side]) for side in SIDES]
).astype(np.float32)
"""Where windows begin and end along an axis (S, 2)."""
WIDER = np.clip(SPANS + np.array([-0.5, 0.5], np.float32) * (RING_SCALE - 1) * np.diff(SPANS), 0, 1)
"""The same of windows grown by :data:`RING_SCALE`."""
_RATIOS = np.diff(SPANS) / np.diff(SPANS)[:, 0]
FITS = np.maximum(_RATIOS, 1 / _RATIOS) <= LONGEST
"""Which spans along y (S,) and along x (S,) make a window together."""
WINDOWS = np.concatenate([SPANS[np.nonzero(FITS)[1]], SPANS[np.nonzero(FITS)[0]]], axis=1)[:, [0, 2, 1, 3]]
"""Normalised (N, 4), in the order in which :data:`FITS` picks them."""
GAP = 2
"""Pixels of an edge map beyond an edge of a box that must be free of contours."""
SMALLEST = 3
"""Least side of what is left of a window, in pixels of an edge map."""
ROUNDS = 3
"""How often all edges of a window are moved: where one ends decides what contours the others see."""


class ContourProposer:
    """Windows that CLIP finds like some prompt, each edge moved to the nearest gap between contours.

    Windows are rated by the ``context`` score of the prompt that they are most like (:mod:`vg_gym.clip.scores`). An
    edge goes outwards, from well inside the window, until nothing ends beyond it; where there is no gap within its
    reach it stays, as on textures.

    Args:
        clip: name of the CLIP.
        count: windows whose edges are moved.
        overlap: of two windows that overlap more, only the better is moved; the same holds for the boxes that result.
        contrast: least difference of neighbouring pixels that makes a contour, of 255.
        reach: how far an edge may go to either side, in sides of the window.
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
        self.prompts = negative_prompts(self.clip.words)[:-1]  # the last names no thing
        self.fingerprint = fingerprint(self.name, count, overlap, contrast, reach, self.clip.fingerprint)
        self._texts: np.ndarray | None = None

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Boxes of every image (H, W, 3) uint8, labelled with the prompt each is most like.

        A confidence tells by how many standard deviations a score stands out among those of all windows, put through
        the logistic function.
        """
        if self._texts is None:
            self._texts = self.clip.encode_text(self.prompts)
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> Proposals:
        table = summed_area(self.clip.encode_dense([image]))
        scores = self._scores(*(lattice_sums(table[0], spans, spans)[FITS] for spans in (SPANS.T, WIDER.T))).max(axis=1)
        level, spread = scores.mean(), scores.std() + 1e-6
        windows = proposals(WINDOWS, scores, [""] * len(WINDOWS), image, min_side=0)
        chosen = select(windows, -np.inf, self.count, max_overlap=self.overlap).boxes
        contours = edge_maps(image).max(axis=-1) > self.contrast
        boxes = to_gaps(chosen, contours, self.reach)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= SMALLEST / SIDE).all(axis=1)]
        wider = box_ops.clamp(box_ops.scale(boxes, RING_SCALE), 0, 1)
        scores = self._scores(*np.split(box_sum(table, np.concatenate([boxes, wider])[None])[0], 2))
        labels = [self.prompts[i] for i in scores.argmax(axis=1)]
        confidences = 1 / (1 + np.exp((level - scores.max(axis=1)) / spread))
        size = np.tile(image.shape[1::-1], 2)
        return select(proposals(boxes * size, confidences, labels, image), max_overlap=self.overlap)

    def _scores(self, inside: np.ndarray, wider: np.ndarray) -> np.ndarray:
        """The context score (N, P) with each prompt, given sums of features (N, D) over boxes and over wider ones."""
        assert self._texts is not None
        ring = l2_normalize(wider - inside)
        return (l2_normalize(inside) - RING_WEIGHT * ring) @ self._texts.T


def to_gaps(boxes: np.ndarray, contours: np.ndarray, reach: float) -> np.ndarray:
    """Move the edges of boxes outwards, from inside, to the first gap between contours; without one they stay.

    Args:
        boxes: normalised (N, 4).
        contours: bool (S, S), where pixels differ from their neighbours.
        reach: how far an edge may go to either side, in sides of the box.

    Returns:
        Normalised boxes (N, 4), edges on whole pixels where they moved.

    >>> contours = np.zeros((100, 100), bool); contours[20:61, 30:51] = True
    >>> to_gaps(np.array([[0.25, 0.25, 0.55, 0.55]]), contours, 0.4).tolist()
    [[0.3, 0.2, 0.5, 0.6]]
    """
    side = len(contours)
    before = [np.pad(contours.cumsum(axis), [(1, 0) if a == axis else (0, 0) for a in (0, 1)]) for axis in (0, 1)]
    moved = boxes * float(side)
    for _ in range(ROUNDS):
        for axis in (0, 1):
            low, high = moved[:, axis].copy(), moved[:, axis + 2].copy()
            first = np.floor(moved[:, 1 - axis]).astype(int).clip(0, side)
            last = np.ceil(moved[:, 3 - axis]).astype(int).clip(0, side)
            across = before[0] if axis == 0 else before[1].T
            sums = (across[last] - across[first]).cumsum(axis=1)
            sums = np.pad(sums, ((0, 0), (1 + GAP, 1 + GAP)), mode="edge")
            free = sums[:, GAP:] == sums[:, :-GAP]  # free[:, x]: no contour in the GAP columns before column x
            middle, far = (low + high) / 2, np.maximum(reach * (high - low), SMALLEST)
            at = np.arange(side + 1)
            down, up = free[:, : side + 1], free[:, 1 + GAP :]  # a contour lies in the first column beyond what ends
            down = down & (at <= np.minimum(middle, low + far)[:, None]) & (at >= np.floor(low - far)[:, None])
            up = up & (at >= np.maximum(middle, high - far)[:, None]) & (at <= np.ceil(high + far)[:, None])
            moved[:, axis] = np.where(down.any(axis=1), side - down[:, ::-1].argmax(axis=1), low)
            moved[:, axis + 2] = np.where(up.any(axis=1), up.argmax(axis=1), high)
    return (moved / side).astype(boxes.dtype)
