"""``score="relational"``: the expected IoU of a box with the object that the expression refers to.

The probability that the expression refers to a proposal comes from relations between the proposals' boxes and from CLIP
(:class:`vg_gym.features.query_proposals.QueryProposals`). The score of a box is its IoU with each proposal, weighted by
these probabilities. It reads no label.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vg_gym import boxes as box_ops
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.dense import DenseScorer
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.errors import VGGymError

NAME = "relational"


class RelationalScorer(Scorer):
    """Scores boxes by their expected IoU; the features of the region are dense.

    Raises:
        VGGymError: the environment lacks proposals, or its scoring is not ``dense``.
    """

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        if not options.proposals or options.scoring != "dense":
            raise VGGymError(
                "score=relational reads proposals: name a proposer with proposals=, and leave scoring=dense"
            )
        # The cosine is the cheapest score; only the features of this scorer are used.
        self._dense = DenseScorer(replace(options, score="cosine"), catalog)

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        region, _ = self._dense.score(boxes, playing)
        assert self.bank.query_proposals is not None
        proposals, last = self.bank.proposals.like(boxes)[playing.rows], self.bank.query_proposals.observed - 1
        return region, expected_iou(boxes[:, None], proposals[..., :4], proposals[..., last])


def expected_iou(boxes: Any, proposals: Any, probabilities: Any) -> Any:
    """Return the expected IoU (...) of boxes with proposals; arrays or tensors.

    Args:
        boxes: boxes (..., 1, 4).
        proposals: boxes (..., K, 4) in the same unit.
        probabilities: probability that the expression refers to each proposal (..., K).
    """
    return (box_ops.iou(boxes, proposals) * probabilities).sum(-1)
