"""Source of episodes: a data set with answers (training), or bare queries (test time)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError, unknown
from vg_gym.features.bank import FeatureBank
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import GroundingDataset, MayLack, MeansAny, Query, Sample

TARGETS = ("one", "any")
"""Numbers of objects that the expressions of a source may mean."""
MAX_LISTED_QUERIES = 2**15
"""Largest number of queries of :meth:`Episodes.queries` in memory: all of most data sets, the recent ones of others."""


class Episodes:
    """Indexed source of queries, with targets if the source has them.

    Args:
        items: a data set, a list of samples, or a list of queries; samples and queries cannot be mixed.
        targets: ``one`` leaves out the samples that mean none or several objects, and says so on stderr; ``any`` plays
            all of them.

    Raises:
        VGGymError: the source is empty, or all of its samples are left out.
    """

    def __init__(self, items: GroundingDataset | Sequence[Sample] | Sequence[Query], targets: str = "one"):
        if targets not in TARGETS:
            raise unknown("value of targets", targets, TARGETS)
        if len(items) == 0:
            raise VGGymError("no queries for episodes: the data set or list is empty")
        bare = isinstance(items[0], Query) or (isinstance(items, MayLack) and not items.labeled)
        self.labeled, self.targets = not bare, targets
        self.source = items
        """All items, also those that are left out."""
        self.dataset = str(getattr(items, "name", "queries"))
        self.items: Any = items if bare or targets == "any" else _of_one(items, self.dataset)

    def __len__(self) -> int:
        return len(self.items)

    def query(self, index: int) -> Query:
        """Return the query of an episode.

        Raises:
            VGGymError: the expression is empty.
        """
        return self.query_of(self.items[index])

    def query_of(self, item: Sample | Query) -> Query:
        """Return the query of an item of the source.

        Raises:
            VGGymError: the expression is empty.
        """
        query = item if isinstance(item, Query) else item.query
        if not query.expression.strip():
            raise VGGymError(f"query {query.key!r} has an empty expression; give it a few words")
        return query

    def queries(self) -> Sequence[Query]:
        """Return all queries, which are made on access; the last :data:`MAX_LISTED_QUERIES` stay in memory."""
        return LazySequence(len(self), self.query, MAX_LISTED_QUERIES)

    def target(self, index: int) -> np.ndarray:
        """Return the normalised target box (4,); NaN for bare queries."""
        return self.target_of(self.items[index])

    def all_targets(self, index: int) -> np.ndarray | None:
        """Return the normalised target boxes (k, 4); None for bare queries."""
        return self.targets_of(self.items[index])

    def targets_of(self, item: Sample | Query) -> np.ndarray | None:
        """Return the normalised target boxes (k, 4) of an item of the source; None for a bare query."""
        if not self.labeled or isinstance(item, Query):
            return None
        return box_ops.normalize(item.boxes, item.query.image.size)

    def target_of(self, item: Sample | Query) -> np.ndarray:
        """Return the normalised target box (4,) of an item of the source; NaN for a bare query.

        Raises:
            VGGymError: with ``targets="one"``, the sample means nothing or several things.
        """
        if isinstance(item, Query):
            return np.full(4, np.nan, dtype=np.float32)
        if self.targets == "one" and len(item.boxes) != 1:
            remedy = f"play {self.dataset} with targets=any"
            raise VGGymError(f"{item.query.key} has {len(item.boxes)} boxes, not one; {remedy}")
        return box_ops.normalize(item.box, item.query.image.size)


class _Selected(Sequence[Any]):
    """Items of a source at some of its indices."""

    def __init__(self, items: Any, indices: np.ndarray):
        self.items, self.indices = items, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.items[int(self.indices[index])]


def _of_one(items: Any, name: str) -> Any:
    """Return the samples of a source that mean one object, and say on stderr if others are left out."""
    if isinstance(items, MeansAny):
        single = items.means_one()
    elif isinstance(items, (list, tuple)):
        single = np.array([len(sample.boxes) == 1 for sample in items])
    else:
        return items
    if single.all():
        return items
    if not single.any():
        raise VGGymError(f"no expression of {name} means exactly one object; play it with targets=any")
    _say_left_out(name, int((~single).sum()), len(single))
    return _Selected(items, np.flatnonzero(single))


@lru_cache
def _say_left_out(name: str, left_out: int, count: int) -> None:
    """Print once how many samples are left out."""
    print(
        f"{name}: {left_out:,} of {count:,} expressions mean none or several objects and are left out; targets=any "
        "plays them",
        file=sys.stderr,
    )


MAX_RECENT_QUERIES = 4096
"""Largest number of queries in memory."""


class Catalog:
    """Columns with the values that an engine needs of its episodes, filled when an episode is first played.

    With columns, many episodes begin at once without a loop, and episodes that are not played are not read. Queries
    outside the source may be added as guests, without a target.

    Args:
        episodes: source of the episodes.
        bank: bank with the features.
        guests: largest number of queries outside the source at a time; their rows follow those of the source.
    """

    def __init__(self, episodes: Episodes, bank: FeatureBank, guests: int = 64):
        self.episodes, self.bank = episodes, bank
        count = len(episodes) + guests
        self.rows = np.full(count, -1, dtype=np.int64)
        """Row of each episode in the bank; -1 for episodes that were not played yet."""
        self.targets = np.full((count, 4), np.nan, dtype=np.float32)
        """Normalised target boxes; NaN without a target. With ``targets=any`` it is the first of several."""
        self.all_targets: dict[int, np.ndarray | None] = {}
        """Normalised target boxes (k, 4) of played episodes with ``targets=any``; None without labels."""
        self.scales = np.ones((count, 4), dtype=np.float32)
        """Sizes of the images in pixels (W, H, W, H)."""
        self.identity: dict[str, np.ndarray] = {
            "key": np.full(count, "", dtype=object),
            "expression": np.full(count, "", dtype=object),
            "kind": np.full(count, "", dtype=object),
            "ref_id": np.full(count, -1, dtype=np.int64),
            "sent_id": np.full(count, -1, dtype=np.int64),
        }
        """Values of ``info`` that identify an episode."""
        self._made = np.full(count, -1, dtype=np.int64)
        self._recent: LRUCache[Query] = LRUCache(MAX_RECENT_QUERIES)
        self._guests: dict[int, Query] = {}

    def load(self, indices: np.ndarray) -> np.ndarray:
        """Return rows of the bank (B,), int64, of the episodes with indices (B,).

        Raises:
            VGGymError: an image cannot be read, or the bank is too small for so many rows at once.
        """
        old = self._is_old(indices)
        self.bank.used(self.rows[indices[~old]])
        if old.any():
            for index in np.unique(indices[old]):
                self._load(int(index))
            if self._is_old(indices).any():
                raise VGGymError(
                    f"the bank holds {self.bank.capacity:,} queries, and more begin at once: "
                    "raise memory= or lower num_envs="
                )
        return self.rows[indices]

    def _is_old(self, indices: np.ndarray) -> np.ndarray:
        """Return which episodes (B,) lack a row of the bank or lost it to another query, bool (B,)."""
        rows = self.rows[indices]
        return (rows < 0) | (self.bank.made[rows] != self._made[indices])

    def query(self, index: int) -> Query:
        """Return the query of an episode."""
        if index in self._guests:
            return self._guests[index]
        query = self._recent.get(index)
        if query is None:
            self._recent.add(index, query := self.episodes.query(index))
        return query

    def look_ahead(self, indices: Sequence[int]) -> None:
        """Start to read the images of episodes that are played soon."""
        new = [index for index in indices if self.rows[index] < 0]
        if new and self.bank.store is None:
            self.bank.dense.look_ahead([self.query(index).image for index in new])

    def add(self, query: Query, playing: np.ndarray) -> int:
        """Add a query outside the source. It replaces the oldest guest that is not being played if all places are used.

        Args:
            query: the new guest.
            playing: indices of the episodes that are being played, fewer than the places for guests.

        Returns:
            Index of the query.
        """
        for index, guest in self._guests.items():
            if guest is query:
                return index
        row, clock = self.bank.row(query)  # comes first, because the image may be unreadable
        places = range(len(self.episodes), len(self.rows))
        free = next((place for place in places if place not in self._guests), None)
        index = next(i for i in self._guests if i not in playing) if free is None else free
        self._guests.pop(index, None)
        self._guests[index] = query  # the newest guest comes last
        self.rows[index], self._made[index] = row, clock
        self.scales[index] = box_ops.image_scale(query.image.size)
        self.identity["key"][index], self.identity["expression"][index] = query.key, query.expression
        return index

    def _load(self, index: int) -> None:
        if index in self._guests:  # the bank gave the row of this guest to another query
            self.rows[index], self._made[index] = self.bank.row(self._guests[index])
            return
        item = self.episodes.items[index]
        query = self.episodes.query_of(item)
        self._recent.add(index, query)
        if self.episodes.targets == "any":
            boxes = self.all_targets[index] = self.episodes.targets_of(item)
            if boxes is not None and len(boxes):
                self.targets[index] = boxes[0]
        else:
            self.targets[index] = self.episodes.target_of(item)
        self.scales[index] = box_ops.image_scale(query.image.size)
        self.identity["key"][index], self.identity["expression"][index] = query.key, query.expression
        if not isinstance(item, Query):
            values: dict[str, Any] = {"kind": item.kind, "ref_id": item.ref_id, "sent_id": item.sent_id}
            for name, value in values.items():
                self.identity[name][index] = value
        self.rows[index], self._made[index] = self.bank.row(query)
