"""Where episodes come from: a data set with answers (training), or bare queries (test time)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.errors import VGGymError
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import GroundingDataset, MayLack, Query, Sample

KEPT = 2**15
"""Of a list of all queries, those that are in memory: most data sets whole, of larger ones what was asked for last."""


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
        bare = isinstance(items[0], Query) or (isinstance(items, MayLack) and not items.labeled)
        self.labeled = not bare
        self.dataset = str(getattr(items, "name", "queries"))

    def __len__(self) -> int:
        return len(self.items)

    def query(self, index: int) -> Query:
        """The query of an episode.

        Raises:
            VGGymError: its expression is empty.
        """
        return self.query_of(self.items[index])

    def query_of(self, item: Sample | Query) -> Query:
        """The query of an item of the source.

        Raises:
            VGGymError: its expression is empty.
        """
        query = item if isinstance(item, Query) else item.query
        if not query.expression.strip():
            raise VGGymError(f"query {query.key!r} has an empty expression; give it a few words")
        return query

    def queries(self) -> Sequence[Query]:
        """All queries, made when they are asked for; the last :data:`KEPT` are kept."""
        return LazySequence(len(self), self.query, KEPT)

    def target(self, index: int) -> np.ndarray:
        """The normalised target box (4,); NaN for bare queries."""
        return self.target_of(self.items[index])

    def target_of(self, item: Sample | Query) -> np.ndarray:
        """The normalised target box (4,) of an item of the source; NaN of a bare query."""
        if isinstance(item, Query):
            return np.full(4, np.nan, dtype=np.float32)
        return box_ops.normalize(item.box, item.query.image.size)


RECENT = 4096
"""Queries that are kept in memory."""


class Catalog:
    """What an engine asks of its episodes, in columns that are filled when an episode is first played.

    So that many episodes begin at once without a loop, and none is read that is not played. Queries that are not of
    the source may be guests; they have no target.

    Args:
        episodes: the source.
        bank: where features are.
        guests: most queries from elsewhere at a time; their columns are behind those of the source.
    """

    def __init__(self, episodes: Episodes, bank: FeatureBank, guests: int = 64):
        self.episodes, self.bank = episodes, bank
        count = len(episodes) + guests
        self.rows = np.full(count, -1, dtype=np.int64)
        """Row of the bank; -1 of an episode that was not played yet."""
        self.targets = np.full((count, 4), np.nan, dtype=np.float32)
        """Normalised target boxes; NaN where there is none."""
        self.scales = np.ones((count, 4), dtype=np.float32)
        """Pixels (W, H, W, H) of the images."""
        self.identity: dict[str, np.ndarray] = {
            "key": np.full(count, "", dtype=object),
            "kind": np.full(count, "", dtype=object),
            "ref_id": np.full(count, -1, dtype=np.int64),
            "sent_id": np.full(count, -1, dtype=np.int64),
        }
        """What ``info`` says of an episode."""
        self._made = np.full(count, -1, dtype=np.int64)
        self._recent: LRUCache[Query] = LRUCache(RECENT)
        self._guests: dict[int, Query] = {}

    def load(self, indices: np.ndarray) -> np.ndarray:
        """Rows of the bank (B,), int64, of the episodes with indices (B,).

        Raises:
            VGGymError: an image cannot be read, or the bank has no room for so many at once.
        """
        old = self._is_old(indices)
        self.bank.used(self.rows[indices[~old]])
        if old.any():
            for index in np.unique(indices[old]):
                self._load(int(index))
            if self._is_old(indices).any():
                raise VGGymError(
                    f"more than {self.bank.capacity:,} queries begin at once: raise memory= or lower num_envs="
                )
        return self.rows[indices]

    def _is_old(self, indices: np.ndarray) -> np.ndarray:
        """Whether episodes (B,) have no row of the bank, or had one that was given to another query since."""
        rows = self.rows[indices]
        return (rows < 0) | (self.bank.made[rows] != self._made[indices])

    def query(self, index: int) -> Query:
        """The query of an episode."""
        if index in self._guests:
            return self._guests[index]
        query = self._recent.get(index)
        if query is None:
            self._recent.add(index, query := self.episodes.query(index))
        return query

    def look_ahead(self, indices: Sequence[int]) -> None:
        """Begin to read the images of episodes that are played soon."""
        new = [index for index in indices if self.rows[index] < 0]
        if new and self.bank.store is None:
            self.bank.dense.look_ahead([self.query(index).image for index in new])

    def add(self, query: Query, playing: np.ndarray) -> int:
        """Let in a query from elsewhere, for which the guest goes who came first of those that nobody plays.

        Args:
            query: who comes.
            playing: episodes that are played, by index; fewer than there may be guests.

        Returns:
            The index of the query.
        """
        for index, guest in self._guests.items():
            if guest is query:
                return index
        row, made = self.bank.row(query)  # first: an image may turn out unreadable
        places = range(len(self.episodes), len(self.rows))
        free = next((place for place in places if place not in self._guests), None)
        index = next(i for i in self._guests if i not in playing) if free is None else free
        self._guests.pop(index, None)
        self._guests[index] = query  # the newest is the last
        self.rows[index], self._made[index] = row, made
        self.scales[index] = box_ops.image_scale(query.image.size)
        self.identity["key"][index] = query.key
        return index

    def _load(self, index: int) -> None:
        if index in self._guests:  # its row was given to another query
            self.rows[index], self._made[index] = self.bank.row(self._guests[index])
            return
        item = self.episodes.items[index]
        query = self.episodes.query_of(item)
        self._recent.add(index, query)
        self.targets[index] = self.episodes.target_of(item)
        self.scales[index] = box_ops.image_scale(query.image.size)
        self.identity["key"][index] = query.key
        if not isinstance(item, Query):
            found: dict[str, Any] = {"kind": item.kind, "ref_id": item.ref_id, "sent_id": item.sent_id}
            for name, value in found.items():
                self.identity[name][index] = value
        self.rows[index], self._made[index] = self.bank.row(query)
