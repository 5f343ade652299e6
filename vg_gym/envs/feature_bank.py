"""What the environment knows of images and expressions, on its device: looked up, not computed, at every step.

Features come from a :class:`~vg_gym.features.store.FeatureStore` where one holds them; else they are computed when
first needed. Images become summed-area tables, in which the feature of any box is a sum of 16 rows.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vg_gym.boxes import to_numpy
from vg_gym.clip.dense import l2_normalize, summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.observations import GLIMPSE, LIMIT, glimpses, whole_lines
from vg_gym.envs.scoring.lattice import LatticeScores
from vg_gym.errors import VGGymError
from vg_gym.features.extraction import build
from vg_gym.features.score_maps import num_maps, score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.storage.files import cache_folder
from vg_gym.types import ImageRef, Query

MEMORY_GIB = 4.0
"""Default memory for tables; 148 KB an image for the built-in CLIP, 131 KB for ViT-B/32."""

RECENT = 64
"""Images whose dense features are kept beside their tables."""


class Rows:
    """Rows of a tensor that grows by doubling."""

    def __init__(self, shape: tuple[int, ...], device: torch.device):
        self.data, self.count = torch.empty((0, *shape), device=device), 0

    def append(self, row: np.ndarray) -> None:
        """Add a row, float32."""
        self.count += 1
        self.put(self.count - 1, row)

    def put(self, number: int, row: np.ndarray) -> None:
        """Write a row, making room for it."""
        if number >= len(self.data):
            grown = self.data.new_empty((max(16, 2 * number), *self.data.shape[1:]))
            grown[: len(self.data)] = self.data
            self.data = grown
        self.data[number] = torch.from_numpy(np.ascontiguousarray(row))


class ImageTables:
    """Summed-area tables of images in slots; where they do not all fit, the least recently used makes room.

    Args:
        clip: whose features; the tables live on its device.
        memory: GiB.
        dense: gives an image's dense features (g, g, D) float16.
    """

    def __init__(self, clip: ClipEncoder, memory: float, dense: Callable[[ImageRef], np.ndarray]):
        lines = clip.grid + 1
        self.dense, self.memory = dense, memory
        self.capacity = max(1, int(memory * 2**30 / (4 * lines * lines * clip.dim)))
        """Images that fit."""
        self._tables, self._means = Rows((lines, lines, clip.dim), clip.device), Rows((clip.dim,), clip.device)
        self._refs: list[ImageRef] = []
        self._numbers: dict[str, int] = {}
        self._slot_of = np.zeros(0, dtype=np.int64)
        self._owner = np.zeros(0, dtype=np.int64)
        self._used = np.zeros(0, dtype=np.int64)
        self._clock = 0
        self.players: weakref.WeakSet[Any] = weakref.WeakSet()
        """Engines; the ``slots`` of their rows are in use."""

    @property
    def tables(self) -> torch.Tensor:
        """(S, g+1, g+1, D), one a slot."""
        return self._tables.data

    @property
    def means(self) -> torch.Tensor:
        """Unit mean features (S, D), one a slot."""
        return self._means.data

    def number(self, image: ImageRef) -> int:
        """The number of an image, a new one where it is not known."""
        if image.key not in self._numbers:
            self._numbers[image.key] = len(self._refs)
            self._refs.append(image)
            self._slot_of = grown(self._slot_of, len(self._refs), -1)
        return self._numbers[image.key]

    def slots(self, numbers: np.ndarray) -> np.ndarray:
        """The slots of images by number (R,), int64, filled where need be."""
        self._clock += 1
        found = self._slot_of[numbers]
        self._used[found[found >= 0]] = self._clock
        if (found < 0).any():
            for number in np.unique(numbers[found < 0]):
                self._fill(int(number))
            found = self._slot_of[numbers]
        return found

    def _fill(self, number: int) -> None:
        """Put an image's table into a slot."""
        dense = self.dense(self._refs[number]).astype(np.float32)  # first: an image that cannot be read takes no slot
        slot = self._free_slot()
        self._tables.put(slot, summed_area(dense))
        self._means.put(slot, l2_normalize(dense.mean(axis=(0, 1))).clip(-1, 1))
        self._slot_of[number], self._owner[slot], self._used[slot] = slot, number, self._clock

    def _free_slot(self) -> int:
        """A new slot, or the one that was not used for longest and that no engine looks at."""
        if self._tables.count < self.capacity:
            self._tables.count += 1
            self._owner = grown(self._owner, self._tables.count, -1)
            self._used = grown(self._used, self._tables.count, 0)
            return self._tables.count - 1
        last = self._used[: self.capacity].copy()
        for player in self.players:
            last[to_numpy(player.slots)] = self._clock
        slot = int(last.argmin())
        if last[slot] == self._clock:
            raise VGGymError(
                f"{self.memory:g} GiB hold the features of {self.capacity:,} images, and more are in play at once: "
                "raise memory= or lower num_envs="
            )
        self._slot_of[self._owner[slot]] = -1
        return slot


class FeatureBank:
    """Embeddings and score maps of queries, one a row, and the tables of their images.

    Args:
        clip: the encoder; the bank lives on its device.
        tokens: also the expressions' tokens.
        phrases: also score maps of the head and anchor noun phrases (M = 6 instead of 2).
        memory: GiB for tables of images.
        store: where features are looked up before they are computed.
        lattice: also scores of all boxes of a lattice.

    Raises:
        VGGymError: the store is of another CLIP, or has no phrases or tokens where they are asked for.
    """

    def __init__(
        self, clip: ClipEncoder, tokens: bool = False, phrases: bool = False, memory: float = MEMORY_GIB,
        store: FeatureStore | None = None, lattice: LatticeScores | None = None,
    ):  # fmt: skip
        self.clip, self.tokens, self.phrases, self.lattice = clip, tokens, phrases, lattice
        self.store: FeatureStore | None = None
        if store is not None:
            self._attach(store)
        lines = clip.grid + 1
        self.images = ImageTables(clip, memory, self._dense)
        self._text, self._maps = Rows((clip.dim,), clip.device), Rows((self.num_maps, lines, lines), clip.device)
        self._overviews = Rows((self.num_maps + 1, GLIMPSE, GLIMPSE), clip.device)
        self._tokens = Rows((clip.num_tokens * clip.dim,), clip.device)
        self._lattice = Rows((len(lattice.boxes) if lattice else 0,), clip.device)
        self._rows: dict[tuple[str, str], int] = {}
        self._recent: dict[str, np.ndarray] = {}
        self._image_of = np.zeros(0, dtype=np.int64)

    @property
    def num_maps(self) -> int:
        """M, score maps per query."""
        return num_maps(self.phrases)

    @property
    def text(self) -> torch.Tensor:
        """Unit embeddings of expressions (R, D)."""
        return self._text.data

    @property
    def maps(self) -> torch.Tensor:
        """Summed-area tables of score maps (R, M, g+1, g+1)."""
        return self._maps.data

    @property
    def overviews(self) -> torch.Tensor:
        """Glimpses of the whole image, score maps and coverage (R, M + 1, G, G)."""
        return self._overviews.data

    @property
    def token_features(self) -> torch.Tensor:
        """Unit features of tokens, zero beyond a text's end (R, L * D)."""
        return self._tokens.data

    @property
    def lattice_scores(self) -> torch.Tensor:
        """Scores of lattice boxes (R, L)."""
        return self._lattice.data

    def slots(self, rows: np.ndarray) -> np.ndarray:
        """Slots of :attr:`images` of the images of rows (B,), int64."""
        return self.images.slots(self._image_of[rows])

    def row(self, query: Query) -> int:
        """The row of a query, made where it is new."""
        name = (query.image.key, query.expression)
        if name not in self._rows:
            made = self._make_row(query)  # all of it before any is kept: an image may turn out unreadable
            for rows, values in made:
                rows.append(values)
            row = len(self._rows)
            self._image_of = grown(self._image_of, row + 1, -1)
            self._image_of[row] = self.images.number(query.image)
            self._rows[name] = row
        return self._rows[name]

    def _make_row(self, query: Query) -> list[tuple[Rows, np.ndarray]]:
        """What is known of a query, and where it goes."""
        name = (query.image.key, query.expression)
        text = self._lookup("text", query.expression, lambda: self._encode(query.expression))
        maps = self._lookup("maps", name, lambda: self._make_maps(query)).astype(np.float32)
        maps = maps[..., : self.num_maps].clip(-LIMIT, LIMIT)  # a store may have those of phrases too
        table = np.ascontiguousarray(np.moveaxis(summed_area(maps), -1, 0))[None]
        overview = np.empty((1, 1, self.num_maps + 1, GLIMPSE, GLIMPSE), dtype=np.float32)
        glimpses(table, whole_lines(table), overview)
        made = [(self._text, text.clip(-1, 1)), (self._maps, table[0]), (self._overviews, overview[0, 0])]
        if self.tokens:
            found = self._lookup("tokens", query.expression, lambda: self._encode_tokens(query.expression))
            made.append((self._tokens, found.astype(np.float32).clip(-1, 1).reshape(-1)))
        if self.lattice is not None:
            made.append((self._lattice, self.lattice(query)))
        return made

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute features ahead of time.

        Args:
            queries: of what.
            cache: keep them in a store in the user's cache folder, from which rows are read when first played; what
                an interrupted run has computed is not lost.
            progress: show progress bars.

        Raises:
            VGGymError: there is a store, and it lacks some of the images.
        """
        if self.store is not None:
            self._check_store(self.store, queries)
        elif cache:
            names = "\n".join(f"{q.image.key} {q.expression}" for q in queries)
            digest = hashlib.sha256(f"{self.clip.fingerprint} {self.phrases} {self.tokens} {names}".encode())
            folder = cache_folder() / "features" / digest.hexdigest()[:24]
            self._attach(build(folder, queries, self.clip, self.phrases, self.tokens, progress=progress))
        if cache and self.lattice is not None:
            self.lattice.prepare(queries, progress)
        if self.store is None:
            for query in tqdm(queries, desc="features", unit="query", disable=not progress):
                self.slots(np.array([self.row(query)]))

    def _attach(self, store: FeatureStore) -> None:
        store.check_clip(self.clip)
        for name in ("phrases", "tokens"):
            if getattr(self, name) and not getattr(store.manifest, name):
                raise VGGymError(
                    f"{store.path} was made without --{name}, which this environment asks for: make it with --{name}"
                )
        self.store = store

    def _check_store(self, store: FeatureStore, queries: Sequence[Query]) -> None:
        keys = list(dict.fromkeys(query.image.key for query in queries))
        lacking = [key for key, row in zip(keys, store.dense_rows(keys), strict=True) if row < 0]
        if lacking:
            raise VGGymError(
                f"{store.path} lacks {len(lacking):,} of {len(keys):,} images, e.g. {lacking[0]}: make one "
                "of this data set with vg-gym features, or leave features= out"
            )

    def _lookup(self, what: str, key: Any, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """An array from the store if it has it, else computed."""
        arguments = key if isinstance(key, tuple) else (key,)
        found = None if self.store is None else getattr(self.store, what)(*arguments)
        return compute() if found is None else found

    def _dense(self, image: ImageRef) -> np.ndarray:
        """Dense features (g, g, D), float16; the last few are kept, as queries of an image follow each other."""
        if image.key not in self._recent:
            found = self._lookup("dense", image.key, lambda: self.clip.encode_dense([image.array()])[0])
            while len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[image.key] = found.astype(np.float16)
        return self._recent[image.key]

    def _encode(self, expression: str) -> np.ndarray:
        return self.clip.encode_text([expression])[0]

    def _encode_tokens(self, expression: str) -> np.ndarray:
        return self.clip.encode_tokens([expression])[0]

    def _make_maps(self, query: Query) -> np.ndarray:
        return score_maps(self.clip, self._dense(query.image), [query.expression], self.phrases)[0]


def grown(array: np.ndarray, count: int, fill: int) -> np.ndarray:
    """An int64 array of at least ``count`` entries, new ones ``fill``; grows by doubling."""
    if count <= len(array):
        return array
    return np.concatenate([array, np.full(max(16, count), fill, dtype=np.int64)])
