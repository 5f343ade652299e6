"""``scoring="dense"``: scores from dense features, which are computed once per image; O(1) per box."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.region_features import table_scores, table_sums
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, measure, negative_texts, score_of
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer

_RINGS = {"cosine": (1.0, 0.0), "context": (RING_SCALE, RING_WEIGHT)}
"""Size of the ring and weight of its cosine, by the name of each score that is compiled for arrays."""


class DenseScorer(Scorer):
    """Sums features over boxes with the bank's summed-area tables."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        score_of(options.score)
        self._negatives: Any = negative_texts(self.bank.clip, options.score)

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        if isinstance(boxes, np.ndarray) and self.options.score in _RINGS:
            tables, ring = self.bank.images.tables.array, _RINGS[self.options.score]
            return table_scores(tables, playing.slots, boxes, playing.text, *ring)
        sums = partial(table_sums, self.bank.images.tables.like(boxes), playing.slots)
        region, score = measure(self.options.score, sums, playing.text, boxes[:, None], self._negatives_like(boxes))
        return box_ops.clamp(region[:, 0], -1, 1), score[:, 0]

    def _negatives_like(self, boxes: Any) -> Any:
        """Return the negative texts as an array or a tensor, like the boxes; they move to the device once."""
        if self._negatives is not None and box_ops.namespace(boxes) is not box_ops.namespace(self._negatives):
            self._negatives = boxes.new_tensor(self._negatives)
        return self._negatives
