"""Closer looks (``zoom=true``): the region around the box, encoded again at the encoder's full resolution.

The action "look closer" does not move the box. It encodes a square of twice the box's longer side, the view, as an
image of its own. As long as the box lies inside the view, its CLIP score and its features come from the view; outside,
they come from the whole image. A row has one view, until it looks again or its episode ends.

Views are cached like images, by the image, their pixels and the encoder. The rewards stay potential-based: the
potential is the score of the box as it is seen, and a look costs ``zoom_price``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.envs.scoring.relational import NAME as RELATIONAL
from vg_gym.errors import VGGymError
from vg_gym.features.image_tables import ImageTables
from vg_gym.features.image_views import ImageView, view_around
from vg_gym.types import Query

VALUES = 5
"""Number of values of the part ``view`` of the observation: the view's corners, and whether the box is seen in it."""
TOLERANCE = 1e-6
"""Distance by which a box may stick out of its view, normalised; it is the rounding of float32."""


class CloserLooks:
    """Views of N episodes: arrays, or tensors on a device.

    Args:
        count: number of episodes, N.
        options: options of the environment.
        images: tables of the features of images, and of views.
        state: function that converts an array to state of the engine.

    Raises:
        VGGymError: the scores of the environment do not come from dense features, so that no look can change them.
    """

    def __init__(self, count: int, options: EnvOptions, images: ImageTables, state: Callable[[Any], Any]):
        if options.scoring != "dense" or options.score == RELATIONAL:
            raise VGGymError(
                f"zoom=true reads dense scores: leave scoring={options.scoring} and score={options.score} at "
                "scoring=dense and a score of CLIP, e.g. score=context"
            )
        self._images, self._state = images, state
        self.views = state(np.zeros((count, 4), dtype=np.float32))
        """Views, normalised (N, 4); zeros for none."""
        self._handles = np.full(count, -1, dtype=np.int64)
        self._slots = np.zeros(count, dtype=np.int64)
        self.rows = np.zeros(0, dtype=np.int64)
        """Rows of queries in use: none; see :class:`vg_gym.features.image_tables.SlotUser`."""
        images.users.add(self)

    @property
    def slots(self) -> np.ndarray:
        """Slots in ``images`` of the views that rows have."""
        return self._slots[self._handles >= 0]

    def forget(self, rows: np.ndarray) -> None:
        """Drop the views of rows whose episodes begin."""
        for row in rows.tolist():
            if self._handles[row] >= 0:
                self._images.handles.release(int(self._handles[row]))
                self._handles[row] = -1
        self.views[rows] = 0

    def look(self, rows: np.ndarray, boxes: Any, query_of: Callable[[int], Query]) -> None:
        """Look at the regions around the boxes of some rows.

        Args:
            rows: indices of the rows (R,).
            boxes: normalised boxes of all rows (N, 4).
            query_of: returns the query of a row.
        """
        boxes = to_numpy(boxes)
        for row in rows.tolist():
            image = query_of(row).image
            scale = box_ops.image_scale(image.size)
            view = ImageView(image, view_around(boxes[row] * scale, image.size))
            handle = self._images.handles.hold(view.key)
            slot = int(self._images.slots(np.array([handle]), [view].__getitem__)[0])
            self.forget(np.array([row]))
            self._handles[row], self._slots[row] = handle, slot
            self.views[row] = self._state((np.array(view.box) / scale).astype(np.float32))

    def is_new(self, boxes: Any, query_of: Callable[[int], Query]) -> np.ndarray:
        """Return which rows would get another view by a look, bool (N,)."""
        boxes, views = to_numpy(boxes), to_numpy(self.views)
        sizes = [query_of(row).image.size for row in range(len(boxes))]
        scales = np.stack([box_ops.image_scale(size) for size in sizes])
        ahead = np.array([view_around(box, size) for box, size in zip(boxes * scales, sizes, strict=True)])
        return (np.abs(views * scales - ahead) > 0.5).any(axis=1)

    def seen_in(self, boxes: Any, views: Any) -> Any:
        """Return which boxes (B, 4) lie inside their views (B, 4), bool (B,)."""
        low = (boxes[:, :2] >= views[:, :2] - TOLERANCE).all(1)
        return low & (boxes[:, 2:] <= views[:, 2:] + TOLERANCE).all(1)

    def observe(self, boxes: Any, rows: np.ndarray | None) -> Any:
        """Return the part ``view`` of the observation (B, 5) of the boxes of some rows, or of all."""
        views = self.views if rows is None else self.views[rows]
        inside = self.seen_in(boxes, views)[:, None]
        xp = box_ops.namespace(boxes)
        return xp.concatenate([views, inside.astype(np.float32) if xp is np else inside.float()], axis=1)

    def measured(self, scorer: Scorer, boxes: Any, playing: Playing, rows: np.ndarray | None) -> tuple[Any, Any]:
        """Return region features (B, D) and scores (B,) of boxes (B, 4), from views where the boxes lie inside theirs.

        Args:
            scorer: scorer of dense features.
            boxes: normalised boxes of some rows, or of all.
            playing: the episodes that these rows play.
            rows: indices of the rows; None for all.
        """
        region, score = scorer.score(boxes, playing)
        views, slots = (values if rows is None else values[rows] for values in (self.views, self._slots))
        places = np.flatnonzero(to_numpy(self.seen_in(boxes, views)))
        if places.size:
            close = Playing(*(values[places] for values in playing))._replace(slots=self._like(slots[places], playing))
            region[places], score[places] = scorer.score(_relative(boxes[places], views[places]), close)
        return region, score

    def _like(self, slots: np.ndarray, playing: Playing) -> Any:
        """Return slots of the type of those of the whole images."""
        return slots.astype(np.int32) if isinstance(playing.slots, np.ndarray) else self._state(slots.astype(np.int32))


def _relative(boxes: Any, views: Any) -> Any:
    """Return boxes (B, 4) in the frames of views (B, 4), normalised."""
    xp = box_ops.namespace(boxes)
    low, side = views[:, :2], views[:, 2:] - views[:, :2]
    return box_ops.clamp((boxes - xp.concatenate([low, low], axis=1)) / xp.concatenate([side, side], axis=1), 0, 1)
