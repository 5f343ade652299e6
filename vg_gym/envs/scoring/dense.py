"""``scoring="dense"``: scores from dense features, which are computed once per image; O(1) a box."""

from __future__ import annotations

from functools import partial
from typing import Any

from vg_gym import boxes as box_ops
from vg_gym.clip.scores import SCORES, measure, negative_texts
from vg_gym.clip.tables import table_sums
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.errors import unknown


class DenseScorer(Scorer):
    """Sums of features over boxes, from the bank's summed-area tables."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        if options.score not in SCORES:
            raise unknown("score", options.score, SCORES)
        self._negatives: Any = negative_texts(self.bank.clip, options.score)

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        sums = partial(table_sums, self.bank.images.tables, playing.slots)
        region, score = measure(self.options.score, sums, playing.text, boxes[:, None], self._negatives_like(boxes))
        return box_ops.clamp(region[:, 0], -1, 1), score[:, 0]

    def _negatives_like(self, boxes: Any) -> Any:
        """The negative texts as an array or a tensor, as the boxes are; moved to their device once."""
        if self._negatives is not None and box_ops.namespace(boxes) is not box_ops.namespace(self._negatives):
            self._negatives = boxes.new_tensor(self._negatives)
        return self._negatives
