"""Where episodes come from: a data set with answers (training), or bare queries (test time)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.types import GroundingDataset, Query, Sample, VGGymError


class Episodes:
    """An indexed source of queries, with targets where the source has them.

    Args:
        items: a data set (or list of samples), or a list of queries. All of one sort.

    Raises:
        VGGymError: there is nothing in it.
    """

    def __init__(self, items: GroundingDataset | Sequence[Sample] | Sequence[Query]):
        if len(items) == 0:
            raise VGGymError("no queries to make episodes of: the data set or list is empty")
        self.items = items
        self.labelled = not isinstance(items[0], Query)
        self.dataset = str(getattr(items, "name", "queries"))

    def __len__(self) -> int:
        return len(self.items)

    def query(self, index: int) -> Query:
        """The query of an episode.

        Raises:
            VGGymError: its expression is empty.
        """
        item = self.items[index]
        query = item if isinstance(item, Query) else item.query
        if not query.expression.strip():
            raise VGGymError(f"query {query.key!r} has an empty expression; give it a few words")
        return query

    def queries(self) -> list[Query]:
        """All queries."""
        return [self.query(i) for i in range(len(self))]

    def target(self, index: int) -> np.ndarray:
        """The normalised target box (4,); NaN for bare queries."""
        item = self.items[index]
        if isinstance(item, Query):
            return np.full(4, np.nan, dtype=np.float32)
        return box_ops.normalize(item.box, item.query.image.size)

    def identity(self, of: int | Query) -> dict[str, Any]:
        """What ``info`` says of an episode (by index) or of a bare query besides its numbers."""
        item = of if isinstance(of, Query) else self.items[of]
        if isinstance(item, Query):
            return {"key": item.key, "ref_id": -1, "sent_id": -1, "kind": ""}
        return {"key": item.query.key, "ref_id": item.ref_id, "sent_id": item.sent_id, "kind": item.kind}
