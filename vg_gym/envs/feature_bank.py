"""What the environment knows of images and expressions, on its device: looked up, not computed, at every step.

Features come from a :class:`~vg_gym.features.store.FeatureStore` where one holds them; else they are computed when
first needed, and kept in a file of the cache folder for the next run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from vg_gym.boxes import to_numpy
from vg_gym.clip.dense import summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.dense_features import DenseFeatures
from vg_gym.envs.image_tables import ImageTables, Rows, grown
from vg_gym.envs.observations import GLIMPSE, LIMIT, glimpses, whole_lines
from vg_gym.envs.proposals import FIELDS, QueryProposals
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.features.edge_maps import edge_map_arrays
from vg_gym.features.extraction import build
from vg_gym.features.image_arrays import ImageArrays
from vg_gym.features.score_maps import SCAN_SIZES, num_maps, scanned_regions, score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.language.parsing import PHRASE_RULES
from vg_gym.lazily import torch
from vg_gym.storage.array_cache import ArrayCache
from vg_gym.storage.files import cache_place, fingerprint, go_on_without_cache
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Query

ROW_SHARE = 0.25
"""Of the memory for tables of images, as much again may be used for what is known of queries."""
MIN_ROWS = 4096
"""Queries that fit, however little memory there is."""
SCANNED = 32
"""Images whose scanned regions are kept, 1.2 MB each, as queries of an image come close together."""


class QueryScores(Protocol):
    """What a scorer computes once for each query (:mod:`vg_gym.envs.scoring`), such as scores of fixed boxes."""

    count: int
    """L, numbers a query."""
    fingerprint: str
    """Equal for what computes equal scores."""

    def __call__(self, query: Query) -> np.ndarray:
        """The numbers (L,), float32."""
        ...

    def prepare(self, queries: Sequence[Query], progress: bool = False) -> None:
        """Compute those of many queries ahead of time, and keep them in the cache folder."""
        ...


class FeatureBank:
    """Embeddings and score maps of queries, one a row, and the tables of their images.

    Args:
        clip: the encoder; the bank lives on its device.
        tokens: also the expressions' tokens.
        phrases: also score maps of the head and anchor noun phrases (M = 6 instead of 2).
        memory: GiB for tables of images; 148 KB an image for the built-in CLIP, 131 KB for ViT-B/32.
        store: where features are looked up before they are computed.
        query_scores: also what this computes for each query.
        proposals: also the proposals of each query.
        edges: also the edge maps of images.
        cache: keep what is computed when first needed for the next run.

    Raises:
        VGGymError: the store is of another CLIP, or lacks phrases (of this version) or tokens that are asked for.
    """

    def __init__(
        self, clip: ClipEncoder, tokens: bool = False, phrases: bool = False, memory: float = 4.0,
        store: FeatureStore | None = None, query_scores: QueryScores | None = None,
        proposals: QueryProposals | None = None, edges: bool = False, cache: bool = False,
    ):  # fmt: skip
        self._cache = _cache_file(clip) if cache else None
        self.dense = DenseFeatures(clip, self._cache)
        self.query_proposals, self.edge_maps = proposals, edge_map_arrays() if edges else None
        self.clip, self.tokens, self.phrases, self.query_scores = clip, tokens, phrases, query_scores
        self.store: FeatureStore | None = None
        if store is not None:
            self._attach(store)
        lines = clip.grid + 1
        self.images = ImageTables(clip, memory, self.dense, self.edge_maps)
        self.text = Rows((clip.dim,), clip)
        """Unit embeddings of expressions (R, D)."""
        self.maps = Rows((self.num_maps, lines, lines), clip)
        """Summed-area tables of score maps (R, M, g+1, g+1)."""
        self.overviews = Rows((self.num_maps + 1, GLIMPSE, GLIMPSE), clip)
        """Glimpses of the whole image, score maps and coverage (R, M + 1, G, G)."""
        self.token_features = Rows((clip.num_tokens * clip.dim,), clip)
        """Unit features of tokens, zero beyond a text's end (R, L * D)."""
        self.proposals = Rows((proposals.count if proposals else 0, len(FIELDS)), clip)
        """Proposals of queries (R, K, F), see :class:`vg_gym.envs.proposals.QueryProposals`."""
        self.scores = Rows((query_scores.count if query_scores else 0,), clip)
        """What :attr:`query_scores` computed (R, L)."""
        self._regions: LRUCache[np.ndarray] = LRUCache(SCANNED)
        self._rows: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self.capacity = max(MIN_ROWS, int(memory * ROW_SHARE * 2**30 / (4 * self._row_size())))
        """Queries that fit; where they do not all, the least recently used goes."""
        self.made = np.zeros(1, dtype=np.int64)
        """When each row was made (R,); a row that is given to another query is made anew."""
        self._last_used = np.zeros(0, dtype=np.int64)
        self._clock = 0
        self._image_of = np.zeros(0, dtype=np.int64)

    @property
    def num_maps(self) -> int:
        """M, score maps per query."""
        return num_maps(self.phrases)

    def slots(self, rows: np.ndarray, image: Callable[[int], ImageRef]) -> np.ndarray:
        """Slots of :attr:`images` of the images of rows (B,), int64.

        Args:
            rows: of queries.
            image: gives the image of the query at a place of ``rows``; asked where its table is not in memory.
        """
        return self.images.slots(self._image_of[rows], image)

    def check(
        self, clip: ClipEncoder, tokens: bool, phrases: bool, query_scores: QueryScores | None,
        proposals: QueryProposals | None = None, edges: bool = False,
    ) -> None:  # fmt: skip
        """Refuse to be shared with an environment that asks for other features.

        Args:
            clip: its encoder.
            tokens: whether it wants the expressions' tokens.
            phrases: whether it wants score maps of noun phrases.
            query_scores: what it wants computed for each query.
            proposals: the proposals that it wants of each query.
            edges: whether it wants edge maps.

        Raises:
            VGGymError: one of them differs.
        """
        mine = (self.clip, self.tokens, self.phrases, _mark(self.query_scores), _mark(self.query_proposals))
        asked = (clip, tokens, phrases, _mark(query_scores), _mark(proposals))
        if mine != asked or (self.edge_maps is not None) != edges:
            raise VGGymError(
                "the given bank= is for another CLIP, or other tokens, phrases, proposals, edge_profiles or scoring; "
                "leave it out"
            )

    def row(self, query: Query) -> tuple[int, int]:
        """The row of a query, made where it is new, and when it was made."""
        name = (query.image.key, query.expression)
        if name not in self._rows:
            made = self._make_row(query)  # all of it before any is kept: an image may turn out unreadable
            row = self._free_row(name)
            for rows, values in made:
                rows.put(row, values)
            self._image_of[row], self.made[row] = self.images.hold(query.image), self._clock
        row = self._rows[name]
        self.used(row)
        return row, int(self.made[row])

    def used(self, rows: Any) -> None:
        """Note that some rows are in use now."""
        self._clock += 1
        self._last_used[rows] = self._clock

    def _free_row(self, name: tuple[str, str]) -> int:
        """A new row for a query, or the one that was not used for longest and that no engine plays."""
        if (row := len(self._names)) < self.capacity:
            self._names.append(name)
            self._image_of = grown(self._image_of, row + 1, -1)
            self.made, self._last_used = grown(self.made, row + 1, 0), grown(self._last_used, row + 1, 0)
        else:
            last = self._last_used[: self.capacity].copy()
            for user in self.images.users:
                last[to_numpy(user.rows)] = self._clock + 1
            row = int(last.argmin())
            if last[row] > self._clock:
                raise VGGymError(f"{self.capacity:,} queries are in play at once: raise memory= or lower num_envs=")
            del self._rows[self._names[row]]
            self.images.release(int(self._image_of[row]))
            self._names[row] = name
        self._rows[name] = row
        return row

    def _row_size(self) -> int:
        """Numbers of a row."""
        parts = (self.text, self.maps, self.overviews, self.token_features, self.scores, self.proposals)
        return sum(math.prod(part.shape) for part in parts)

    def _make_row(self, query: Query) -> list[tuple[Rows, np.ndarray]]:
        """What is known of a query, and where it goes."""
        name, tables = (query.image.key, query.expression), (self.text, self.maps, self.overviews)
        maps = None if self.store is None else self.store.maps(*name)
        if maps is None:
            known = "\n".join((f"row {self.num_maps} {GLIMPSE} {LIMIT:g}", *name))
            row = self._kept(known, lambda: self._assemble(query, self._make_maps(query)))
        else:
            row = self._assemble(query, maps)
        made: list[tuple[Rows, np.ndarray]] = []
        end = 0
        for rows in tables:
            begin, end = end, end + math.prod(rows.shape)
            made.append((rows, row[begin:end].reshape(rows.shape)))
        if self.tokens:
            found = self._lookup("tokens", query.expression, lambda: self._encode_tokens(query.expression))
            made.append((self.token_features, found.astype(np.float32).clip(-1, 1).reshape(-1)))
        if self.query_scores is not None:
            made.append((self.scores, self.query_scores(query)))
        if self.query_proposals is not None:
            made.append((self.proposals, self.query_proposals(query, self.dense(query.image))))
        return made

    def _assemble(self, query: Query, maps: np.ndarray) -> np.ndarray:
        """Text embedding, tables of score maps (g, g, M or more) and overview of a query, one after the other, float32.

        All of it is kept, and not the maps: to begin an episode that was played in another run is then one read.
        """
        text = self._lookup("text", query.expression, lambda: self._encode(query.expression))
        maps = maps[..., : self.num_maps].astype(np.float32).clip(-LIMIT, LIMIT)  # a store may have those of phrases
        table = np.ascontiguousarray(np.moveaxis(summed_area(maps), -1, 0))[None]
        overview = np.empty((1, 1, self.num_maps + 1, GLIMPSE, GLIMPSE), dtype=np.float32)
        tables = torch.from_numpy(table)
        glimpses(tables, whole_lines(tables), torch.from_numpy(overview))
        return np.concatenate([text.astype(np.float32).clip(-1, 1), table.ravel(), overview.ravel()])

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute features ahead of time.

        Args:
            queries: of what.
            cache: keep them in a store in the user's cache folder, from which rows are read when first played; what
                an interrupted run has computed is not lost. Where the folder is full, a warning says so, and they are
                computed as without ``cache``.
            progress: show progress bars.

        Raises:
            VGGymError: there is a store, and it lacks some of the images.
        """
        if self.store is not None:
            self._check_store(self.store, queries)
        refused = False
        if cache:
            try:
                self._prepare_on_disk(queries, progress)
            except CannotWrite as error:
                go_on_without_cache(error)
                refused = True
        if self.store is None or refused:
            for query in tqdm(queries, desc="features", unit="query", disable=not progress):
                self.slots(np.array([self.row(query)[0]]), [query.image].__getitem__)

    def _prepare_on_disk(self, queries: Sequence[Query], progress: bool) -> None:
        if self.store is None:
            names = "\n".join(f"{q.image.key} {q.expression}" for q in queries)
            rules = self.phrases and PHRASE_RULES
            digest = hashlib.sha256(f"{self.clip.fingerprint} {rules} {self.tokens} {names}".encode())
            folder = cache_place("features", digest.hexdigest()[:24])
            self._attach(build(folder, queries, self.clip, self.phrases, self.tokens, progress=progress))
        if self.query_scores is not None:
            self.query_scores.prepare(queries, progress)
        for arrays in self._image_arrays:
            arrays.prepare((query.image for query in queries), progress)

    def close(self) -> None:
        """Read no image ahead any more, and close the file of the cache; the next use opens it again."""
        self.dense.close()

    def _attach(self, store: FeatureStore) -> None:
        store.check_clip(self.clip)
        store.check_parts(self.phrases, self.tokens)
        self.store = self.dense.store = store
        for arrays in self._image_arrays:
            arrays.attach(store)

    @property
    def _image_arrays(self) -> list[ImageArrays]:
        """What is known of each image beside what CLIP knows."""
        parts = [] if self.query_proposals is None else [self.query_proposals.images]
        return parts if self.edge_maps is None else [*parts, self.edge_maps]

    def _check_store(self, store: FeatureStore, queries: Sequence[Query]) -> None:
        keys = list(dict.fromkeys(query.image.key for query in queries))
        lacking = [key for key, row in zip(keys, store.dense_rows(keys), strict=True) if row < 0]
        if lacking:
            raise VGGymError(
                f"{store.path} lacks {len(lacking):,} of {len(keys):,} images, e.g. {lacking[0]}: make one "
                "of this data set with vg-gym features, or leave features= out"
            )

    def _lookup(self, what: str, text: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """What is known of a text, from the store or the cache file, else computed."""
        found = None if self.store is None else getattr(self.store, what)(text)
        return self._kept(f"{what} {self.num_maps}\n{text}", compute) if found is None else found

    def _kept(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """An array from the cache file, else computed, and kept there."""
        if self._cache is None:
            return compute()
        if (found := self._cache.get(name)) is None:
            self._cache.put(name, found := compute())
        return found

    def _encode(self, expression: str) -> np.ndarray:
        return self.clip.encode_text([expression])[0]

    def _encode_tokens(self, expression: str) -> np.ndarray:
        return self.clip.encode_tokens([expression])[0]

    def _make_maps(self, query: Query) -> np.ndarray:
        regions = self._regions.get_or_make([query.image.key], lambda _: [scanned_regions(self.dense(query.image))])
        return score_maps(self.clip, regions[query.image.key], [query.expression], self.phrases)[0]


def _cache_file(clip: ClipEncoder) -> ArrayCache:
    """Named after all that its arrays are a function of, beside images and expressions."""
    return ArrayCache(cache_place("played", f"{fingerprint(clip.fingerprint, SCAN_SIZES, PHRASE_RULES)[:24]}.sqlite"))


def _mark(part: QueryScores | QueryProposals | None) -> str | None:
    return None if part is None else part.fingerprint
