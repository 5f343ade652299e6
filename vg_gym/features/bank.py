"""Features of images and expressions on the device of the environment, which looks them up in every step.

Features come from a :class:`~vg_gym.features.store.FeatureStore` if it holds them. Otherwise they are computed when
first needed, and stored in a file of the cache folder for the next run.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from vg_gym.boxes import to_numpy
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import summed_area
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.features.dense_features import DenseFeatures
from vg_gym.features.edge_maps import edge_map_arrays
from vg_gym.features.extraction import build
from vg_gym.features.glimpses import GLIMPSE, MAX_MAP_SCORE, glimpses, whole_lines
from vg_gym.features.image_arrays import ImageArrays
from vg_gym.features.image_tables import ImageTables, Rows, grown
from vg_gym.features.query_proposals import FIELDS, QueryProposals
from vg_gym.features.score_maps import SCAN_SIZES, num_maps, scanned_regions, score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.language.parsing import PHRASE_RULES
from vg_gym.runtime.lazy_imports import torch
from vg_gym.storage.array_cache import ArrayCache
from vg_gym.storage.files import cache_place, fingerprint, go_on_without_cache
from vg_gym.storage.lru_cache import LRUCache
from vg_gym.types import ImageRef, Query

ROW_SHARE = 0.25
"""Memory for rows of queries, as a fraction of the memory for tables of images (which it adds to)."""
MIN_ROWS = 4096
"""Smallest capacity in queries, however small the memory."""
SCANNED_IMAGES = 32
"""Number of images whose scanned regions are cached, 1.2 MB each; queries of one image follow each other closely."""


class QueryScores(Protocol):
    """Function that a scorer needs computed once per query (:mod:`vg_gym.envs.scoring`), e.g. scores of fixed boxes."""

    count: int
    """Number of scores per query, L."""
    fingerprint: str
    """Fingerprint, equal for functions that compute equal scores."""

    def __call__(self, query: Query) -> np.ndarray:
        """Return the scores (L,) of a query, float32."""
        ...

    def prepare(self, queries: Sequence[Query], progress: bool = False) -> None:
        """Compute the scores of many queries ahead of time, and store them in the cache folder."""
        ...


class FeatureBank:
    """Embeddings and score maps of queries, one query per row, and the tables of their images.

    Args:
        clip: encoder; the bank lives on its device.
        tokens: also hold the expressions' tokens.
        words: also hold which words the expressions have.
        phrases: also hold score maps of the head and anchor noun phrases (M = 6 instead of 2).
        memory: memory for tables of images in GiB. An image takes 148 KB with the built-in CLIP, 131 KB with ViT-B/32.
        store: store in which features are looked up before they are computed.
        query_scores: function whose values the bank also holds for each query.
        proposals: also hold these proposals of each query.
        edges: also hold the edge maps of images.
        cache: store features for the next run when they are first computed.

    Raises:
        VGGymError: the store belongs to another CLIP, or lacks phrases (of this version) or tokens that are needed.
    """

    def __init__(
        self, clip: ClipEncoder, tokens: bool = False, phrases: bool = False, memory: float = 4.0,
        store: FeatureStore | None = None, query_scores: QueryScores | None = None,
        proposals: QueryProposals | None = None, edges: bool = False, cache: bool = False, words: bool = False,
    ):  # fmt: skip
        self._cache = _cache_file(clip) if cache else None
        self.dense = DenseFeatures(clip, self._cache)
        self.query_proposals, self.edge_maps = proposals, edge_map_arrays() if edges else None
        self.clip, self.tokens, self.phrases, self.query_scores = clip, tokens, phrases, query_scores
        self.words = words
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
        self.token_features = Rows((clip.num_tokens * clip.dim if tokens else 0,), clip)
        """Unit features of tokens, zero beyond the end of a text (R, L * D)."""
        self.word_rows = Rows((clip.num_tokens if words else 0,), clip)
        """Rows of the words in :meth:`~vg_gym.clip.encoder.ClipEncoder.encode_words` (R, L)."""
        self.proposals = Rows((proposals.count, proposals.size) if proposals else (0, len(FIELDS)), clip)
        """Proposals of queries (R, K, F), see :class:`vg_gym.features.query_proposals.QueryProposals`."""
        self.scores = Rows((query_scores.count if query_scores else 0,), clip)
        """Values of :attr:`query_scores` (R, L)."""
        self._regions: LRUCache[np.ndarray] = LRUCache(SCANNED_IMAGES)
        self._rows: dict[tuple[str, str], int] = {}
        self._names: list[tuple[str, str]] = []
        self.capacity = max(MIN_ROWS, int(memory / self.needed_memory(1)))
        """Number of rows; when all are used, the least recently used row is replaced."""
        self.made = np.zeros(1, dtype=np.int64)
        """Clock at which each row was filled (R,); it changes when the row goes to another query."""
        self._last_used = np.zeros(0, dtype=np.int64)
        self._clock = 0
        self._image_handles = np.zeros(0, dtype=np.int64)

    @property
    def num_maps(self) -> int:
        """Number of score maps per query, M."""
        return num_maps(self.phrases)

    def slots(self, rows: np.ndarray, image: Callable[[int], ImageRef]) -> np.ndarray:
        """Return the slots in :attr:`images` of the images of rows (B,), int64.

        Args:
            rows: rows of queries.
            image: returns the image of the query at a position in ``rows``; called if its table is not in memory.
        """
        return self.images.slots(self._image_handles[rows], image)

    def texts_of(self, rows: np.ndarray, like: Any) -> dict[str, Any]:
        """Return unit features of the ``tokens`` and ``words`` of queries that the bank has, (B, L * D) each.

        They are zero beyond the end of a text.

        Args:
            rows: rows of the queries, (B,).
            like: an array or a tensor, which the results are, too.
        """
        texts = {"tokens": self.token_features.like(like)[rows]} if self.tokens else {}
        return {**texts, "words": self._words_of(rows, like)} if self.words else texts

    def _words_of(self, rows: np.ndarray, like: Any) -> Any:
        """Return unit features of the words of queries (B, L * D)."""
        numbers = self.word_rows.like(like)[rows]
        if isinstance(numbers, np.ndarray):
            return self._word_table[numbers.astype(np.int64)].reshape(len(rows), -1)
        return self._word_tensor[numbers.long()].flatten(1)

    @cached_property
    def _word_table(self) -> np.ndarray:
        return self._cached("words", self.clip.encode_words)

    @cached_property
    def _word_tensor(self) -> torch.Tensor:
        return torch.tensor(self._word_table, device=self.clip.device)

    def check(
        self, clip: ClipEncoder, tokens: bool, phrases: bool, query_scores: QueryScores | None,
        proposals: QueryProposals | None = None, edges: bool = False, words: bool = False,
    ) -> None:  # fmt: skip
        """Raise an error unless an environment that needs these features can share the bank.

        Args:
            clip: encoder of the environment.
            tokens: whether it needs the expressions' tokens.
            phrases: whether it needs score maps of noun phrases.
            query_scores: function whose values it needs for each query.
            proposals: proposals that it needs for each query.
            edges: whether it needs edge maps.
            words: whether it needs the words of expressions.

        Raises:
            VGGymError: one of them differs.
        """
        marks = _mark(self.query_scores), _mark(self.query_proposals)
        mine = (self.clip, self.tokens, self.phrases, self.words, *marks)
        theirs = (clip, tokens, phrases, words, _mark(query_scores), _mark(proposals))
        if mine != theirs or (self.edge_maps is not None) != edges:
            raise VGGymError(
                "the given bank= is for another CLIP, or other tokens, phrases, proposals, edge_profiles or scoring; "
                "leave it out"
            )

    def row(self, query: Query) -> tuple[int, int]:
        """Return the row of a query, which is filled if the query is new, and the clock at which it was filled."""
        name = (query.image.key, query.expression)
        if name not in self._rows:
            features = self._make_row(query)  # comes before any change, because the image may be unreadable
            row = self._free_row(name)
            for rows, values in features:
                rows.put(row, values)
            self._image_handles[row], self.made[row] = self.images.handles.hold(query.image.key), self._clock
        row = self._rows[name]
        self.used(row)
        return row, int(self.made[row])

    def used(self, rows: Any) -> None:
        """Mark rows as used now."""
        self._clock += 1
        self._last_used[rows] = self._clock

    def _free_row(self, name: tuple[str, str]) -> int:
        """Return a new row for a query, or the least recently used one that no engine plays."""
        if (row := len(self._names)) < self.capacity:
            self._names.append(name)
            self._image_handles = grown(self._image_handles, row + 1, -1)
            self.made, self._last_used = grown(self.made, row + 1, 0), grown(self._last_used, row + 1, 0)
        else:
            last = self._last_used[: self.capacity].copy()
            for user in self.images.users:
                last[to_numpy(user.rows)] = self._clock + 1
            row = int(last.argmin())
            if last[row] > self._clock:
                raise VGGymError(f"{self.capacity:,} queries are in play at once: raise memory= or lower num_envs=")
            del self._rows[self._names[row]]
            self.images.handles.release(int(self._image_handles[row]))
            self._names[row] = name
        self._rows[name] = row
        return row

    def needed_memory(self, expressions: int) -> float:
        """Return the ``memory`` in GiB with which the rows of so many expressions are kept."""
        return expressions * 4 * self._row_size() / (ROW_SHARE * 2**30)

    def _row_size(self) -> int:
        """Return the number of values in a row."""
        parts = (self.text, self.maps, self.overviews, self.token_features, self.word_rows, self.scores, self.proposals)
        return sum(math.prod(part.shape) for part in parts)

    def _make_row(self, query: Query) -> list[tuple[Rows, np.ndarray]]:
        """Compute the features of a query, and return them with the tables that they belong to."""
        name, tables = (query.image.key, query.expression), (self.text, self.maps, self.overviews)
        maps = None if self.store is None else self.store.maps(*name)
        if maps is None:
            cache_key = "\n".join((f"row {self.num_maps} {GLIMPSE} {MAX_MAP_SCORE:g}", *name))
            row = self._cached(cache_key, lambda: self._assemble(query, self._make_maps(query)))
        else:
            row = self._assemble(query, maps)
        features: list[tuple[Rows, np.ndarray]] = []
        end = 0
        for rows in tables:
            begin, end = end, end + math.prod(rows.shape)
            features.append((rows, row[begin:end].reshape(rows.shape)))
        if self.tokens:
            token_features = self._lookup("tokens", query.expression, lambda: self._encode_tokens(query.expression))
            features.append((self.token_features, token_features.astype(np.float32).clip(-1, 1).reshape(-1)))
        if self.words:
            word_rows = self._cached(f"words\n{query.expression}", lambda: self.clip.word_rows(query.expression))
            features.append((self.word_rows, word_rows))
        if self.query_scores is not None:
            features.append((self.scores, self.query_scores(query)))
        if self.query_proposals is not None:
            features.append((self.proposals, self.query_proposals(query, self.dense(query.image))))
        return features

    def _assemble(self, query: Query, maps: np.ndarray) -> np.ndarray:
        """Return a query's text embedding, tables of score maps (g, g, M or more) and overview as one vector, float32.

        The cache holds this vector instead of the maps, so that an episode of an earlier run begins with a single read.
        """
        text = self._lookup("text", query.expression, lambda: self._encode(query.expression))
        maps = maps[..., : self.num_maps].astype(np.float32)  # a store may also have maps of phrases
        maps = maps.clip(-MAX_MAP_SCORE, MAX_MAP_SCORE)
        table = np.ascontiguousarray(np.moveaxis(summed_area(maps), -1, 0))[None]
        overview = np.empty((1, 1, self.num_maps + 1, GLIMPSE, GLIMPSE), dtype=np.float32)
        tables = torch.from_numpy(table)
        glimpses(tables, whole_lines(tables), torch.from_numpy(overview))
        return np.concatenate([text.astype(np.float32).clip(-1, 1), table.ravel(), overview.ravel()])

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute features ahead of time.

        Args:
            queries: queries whose features are computed.
            cache: write the features to a store in the user's cache folder, from which rows are read when first played.
                The features that an interrupted run has computed are not lost. If the folder is full, a warning says
                so, and features are computed as without ``cache``.
            progress: show progress bars.

        Raises:
            VGGymError: the store lacks some of the images.
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
            read = tqdm(queries, desc="queries", unit="query", delay=2, disable=not progress)  # drawn when first read
            names = "\n".join(f"{q.image.key} {q.expression}" for q in read)
            rules = self.phrases and PHRASE_RULES
            digest = hashlib.sha256(f"{self.clip.fingerprint} {rules} {self.tokens} {names}".encode())
            folder = cache_place("features", digest.hexdigest()[:24])
            self._attach(build(folder, queries, self.clip, self.phrases, self.tokens, progress=progress))
        if self.query_scores is not None:
            self.query_scores.prepare(queries, progress)
        for arrays in self._image_arrays:
            arrays.prepare((query.image for query in queries), progress)

    def close(self) -> None:
        """Cancel pending reads of images, and close the file of the cache; the next access opens it again."""
        self.dense.close()

    def _attach(self, store: FeatureStore) -> None:
        store.check_clip(self.clip)
        store.check_parts(self.phrases, self.tokens)
        self.store = self.dense.store = store
        for arrays in self._image_arrays:
            arrays.attach(store)

    @property
    def _image_arrays(self) -> list[ImageArrays]:
        """Arrays of each image besides CLIP's features."""
        parts = [] if self.query_proposals is None else [self.query_proposals.images]
        return parts if self.edge_maps is None else [*parts, self.edge_maps]

    def _check_store(self, store: FeatureStore, queries: Sequence[Query]) -> None:
        keys = list(dict.fromkeys(query.image.key for query in queries))
        missing = [key for key, row in zip(keys, store.dense_rows(keys), strict=True) if row < 0]
        if missing:
            raise VGGymError(
                f"{store.path} lacks {len(missing):,} of {len(keys):,} images, e.g. {missing[0]}: make a store "
                "of all of them (vg-gym features without --limit), train on fewer (dataset_options.scenes=, "
                "eval_samples=, test_samples=), or leave features= out"
            )

    def _lookup(self, kind: str, text: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return features of a text from the store or the cache file, or compute them."""
        values = None if self.store is None else getattr(self.store, kind)(text)
        return self._cached(f"{kind} {self.num_maps}\n{text}", compute) if values is None else values

    def _cached(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """Return an array from the cache file, or compute it and store it there."""
        if self._cache is None:
            return compute()
        if (values := self._cache.get(name)) is None:
            self._cache.put(name, values := compute())
        return values

    def _encode(self, expression: str) -> np.ndarray:
        return self.clip.encode_text([expression])[0]

    def _encode_tokens(self, expression: str) -> np.ndarray:
        return self.clip.encode_tokens([expression])[0]

    def _make_maps(self, query: Query) -> np.ndarray:
        regions = self._regions.get_or_make([query.image.key], lambda _: [scanned_regions(self.dense(query.image))])
        return score_maps(self.clip, regions[query.image.key], [query.expression], self.phrases)[0]


def _cache_file(clip: ClipEncoder) -> ArrayCache:
    """Open the cache file. Its name depends on everything that determines its arrays, except images and expressions."""
    return ArrayCache(cache_place("played", f"{fingerprint(clip.fingerprint, SCAN_SIZES, PHRASE_RULES)[:24]}.sqlite"))


def _mark(part: QueryScores | QueryProposals | None) -> str | None:
    return None if part is None else part.fingerprint
