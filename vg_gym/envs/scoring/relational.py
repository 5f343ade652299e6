"""``score="relational"``: the IoU that a box is expected to have, by what the words and CLIP say of the proposals.

Relations are decided over the proposals' boxes, all else by CLIP (:class:`vg_gym.envs.proposals.QueryProposals`). A
box scores the IoU that it has with each proposal, weighted by how likely the proposal is meant. No label is read.
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
    """Expected IoU with the proposals; the region's features are dense.

    Raises:
        VGGymError: the environment has no proposals, or a scoring other than dense is asked for.
    """

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        if not options.proposals or options.scoring != "dense":
            raise VGGymError(
                "score=relational reads proposals: name a proposer with proposals=, and leave scoring=dense"
            )
        self._dense = DenseScorer(replace(options, score="cosine"), catalog)  # for its features: the least work

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        region, _ = self._dense.score(boxes, playing)
        proposals = self.bank.proposals.like(boxes)[playing.rows]
        return region, expected_iou(boxes[:, None], proposals[..., :4], proposals[..., -1])


def expected_iou(boxes: Any, proposals: Any, meant: Any) -> Any:
    """Expected IoU (...) of boxes (..., 1, 4), where of the proposals (..., K, 4) each is meant with a probability.

    Args:
        boxes: arrays or tensors.
        proposals: their corners, in the same unit.
        meant: the probabilities (..., K).
    """
    return (box_ops.iou(boxes, proposals) * meant).sum(-1)
