"""``scoring="dense"``: scores from dense features, which are computed once per image; O(1) per box."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip import kernels
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, SCORES, measure, negative_texts
from vg_gym.clip.tables import table_sums
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.errors import unknown

_RINGS = {"cosine": (np.float32(1), np.float32(0)), "context": (np.float32(RING_SCALE), np.float32(RING_WEIGHT))}
"""Size of the ring and weight of its cosine, by the name of each score that is compiled for arrays."""


class DenseScorer(Scorer):
    """Sums features over boxes with the bank's summed-area tables."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        if options.score not in SCORES:
            raise unknown("score", options.score, SCORES)
        self._negatives: Any = negative_texts(self.bank.clip, options.score)

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        if isinstance(boxes, np.ndarray) and self.options.score in _RINGS:
            region, score = np.empty_like(playing.text), np.empty(len(boxes), dtype=np.float32)
            tables, ring = self.bank.images.tables.array, _RINGS[self.options.score]
            arguments = (tables, playing.slots, np.ascontiguousarray(boxes), playing.text, *ring, region, score)
            kernels.over_rows(kernels.score_boxes, len(boxes), *arguments)
            return region, score
        sums = partial(table_sums, self.bank.images.tables.like(boxes), playing.slots)
        region, score = measure(self.options.score, sums, playing.text, boxes[:, None], self._negatives_like(boxes))
        return box_ops.clamp(region[:, 0], -1, 1), score[:, 0]

    def _negatives_like(self, boxes: Any) -> Any:
        """Return the negative texts as an array or a tensor, like the boxes; they move to the device once."""
        if self._negatives is not None and box_ops.namespace(boxes) is not box_ops.namespace(self._negatives):
            self._negatives = boxes.new_tensor(self._negatives)
        return self._negatives
