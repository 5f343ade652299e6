"""What CLIP knows of a whole data set, on disk: dense features of images, embeddings of texts, score maps of queries.

``vg-gym features`` makes a store (:mod:`vg_gym.features.extraction`). Any number of processes read it, memory-mapped,
so their memory does not grow with its size. It is a folder of ``manifest.json``, the keys of the rows, and
:class:`~vg_gym.storage.shards.ShardedArray` s.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.features.manifest import Keys, Manifest
from vg_gym.features.score_maps import num_maps
from vg_gym.storage.shards import ShardedArray, even_sizes, is_intact

TEXTS_PER_IMAGE = 4
"""A shard of texts has so many times the rows of a shard of images."""


class FeatureStore:
    """A store of features; see :meth:`open`. What it lacks is None, or row -1.

    Args:
        path: its folder, finished or not.

    Raises:
        VGGymError: it is no feature store.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = Manifest.load(self.path)

    @classmethod
    def open(cls, path: str | Path, clip: ClipEncoder | None = None) -> FeatureStore:
        """Open a finished store.

        Args:
            path: its folder.
            clip: the encoder that its features are to be of.

        Raises:
            VGGymError: it is no feature store, is not finished, or is another CLIP's.
        """
        store = cls(path)
        if clip is not None:
            store.check_clip(clip)
        missing = sum(len(array.missing()) for array in store.arrays.values())
        if missing:
            how = f"finish it with `{m}`" if (m := store.manifest.command) else "run again what makes it"
            raise VGGymError(f"{path} is not finished: {missing} shards are missing; {how}")
        return store

    def check_clip(self, clip: ClipEncoder) -> None:
        """Refuse another CLIP.

        Raises:
            VGGymError: the store's features are not those of ``clip``.
        """
        mine = self.manifest
        if mine.fingerprint != clip.fingerprint:
            raise VGGymError(
                f"{self.path} has features of clip {mine.clip!r} ({mine.fingerprint[:12]}), asked for are those of "
                f"{clip.name!r} ({clip.fingerprint[:12]}); use that clip, or make a store of this one"
            )

    def check_parts(self, phrases: bool, tokens: bool) -> None:
        """Refuse to serve what the store lacks.

        Args:
            phrases: whether score maps of noun phrases are asked for.
            tokens: whether features of tokens are asked for.

        Raises:
            VGGymError: it was made without them, or its noun phrases are of another version of vg_gym.
        """
        for name, asked in (("phrases", phrases), ("tokens", tokens)):
            if asked and not getattr(self.manifest, name):
                raise VGGymError(f"{self.path} was made without --{name}, which is asked for: make it with --{name}")
        if phrases and self.manifest.stale_phrases:
            raise VGGymError(
                f"{self.path} has noun phrases of another version of vg_gym; make a new store with --phrases in "
                "another folder, or go without phrases"
            )

    @cached_property
    def keys(self) -> Keys:
        """What the rows are of, read on first use.

        Raises:
            VGGymError: the files are missing or damaged.
        """
        try:
            keys = Keys.load(self.path)
            m = self.manifest
            counts = len(keys.images), len(keys.texts), len(keys.queries)
            intact = keys.digest == m.keys and counts == (m.images, m.texts, m.queries)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise VGGymError(f"{self.path} has damaged keys ({error}); delete it and make it anew") from error
        if not intact:
            raise VGGymError(f"{self.path} has damaged keys (wrong checksum); delete it and make it anew")
        return keys

    @cached_property
    def arrays(self) -> dict[str, ShardedArray]:
        """The arrays by name.

        - ``dense`` (images, g, g, D) float16;
        - ``text`` (texts, D) float32, so that no bit is changed where it comes from a store;
        - ``maps`` (queries, g, g, M) float16, in shards of the same images as those of ``dense``;
        - ``tokens`` (expressions, L, D) float32, where the store was made with them.
        """
        m = self.manifest
        starts = np.searchsorted(self.keys.queries[:, 0], np.arange(0, m.images, m.shard))
        ends = np.append(starts, m.queries)
        per_text = m.shard * TEXTS_PER_IMAGE
        arrays = {
            "dense": ShardedArray(self.path, "dense", even_sizes(m.images, m.shard), (m.grid, m.grid, m.dim)),
            "maps": ShardedArray(self.path, "maps", np.diff(ends).tolist(), (m.grid, m.grid, num_maps(m.phrases))),
            "text": ShardedArray(self.path, "text", even_sizes(m.texts, per_text), (m.dim,), np.float32),
        }
        if m.tokens:
            sizes = even_sizes(m.expressions, per_text)
            arrays["tokens"] = ShardedArray(self.path, "tokens", sizes, (m.tokens, m.dim), np.float32)
        return arrays

    @cached_property
    def _image_rows(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.keys.images)}

    @cached_property
    def _text_rows(self) -> dict[str, int]:
        return {text: row for row, text in enumerate(self.keys.texts)}

    @cached_property
    def _codes(self) -> np.ndarray:
        """One number per query (Q,), ascending as the queries are."""
        return self.keys.queries[:, 0].astype(np.int64) * self.manifest.expressions + self.keys.queries[:, 1]

    def dense_rows(self, image_keys: Sequence[str]) -> np.ndarray:
        """Rows (N,) of images in ``arrays["dense"]``, -1 for those it lacks."""
        return np.array([self._image_rows.get(key, -1) for key in image_keys], np.int64)

    def text_rows(self, texts: Sequence[str]) -> np.ndarray:
        """Rows (N,) of texts in ``arrays["text"]``, those of expressions in ``tokens`` too; -1 for those it lacks."""
        return np.array([self._text_rows.get(text, -1) for text in texts], np.int64)

    def map_rows(self, image_keys: Sequence[str], expressions: Sequence[str]) -> np.ndarray:
        """Rows (N,) of pairs of image and expression in ``arrays["maps"]``, -1 for those it lacks."""
        images, texts = self.dense_rows(image_keys), self.text_rows(expressions)
        known = (images >= 0) & (texts >= 0) & (texts < self.manifest.expressions)
        codes = np.where(known, images * self.manifest.expressions + texts, -1)
        rows = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[rows] == codes, rows, -1)

    def dense(self, image_key: str) -> np.ndarray | None:
        """Dense features (g, g, D) of an image, float16."""
        row = self._image_rows.get(image_key)
        return None if row is None else self.arrays["dense"][row]

    def text(self, text: str) -> np.ndarray | None:
        """Unit embedding (D,) of an expression, or of a noun phrase of one, float32."""
        row = self._text_rows.get(text)
        return None if row is None else self.arrays["text"][row]

    def maps(self, image_key: str, expression: str) -> np.ndarray | None:
        """Score maps (g, g, M) of an expression about an image, float16."""
        row = int(self.map_rows([image_key], [expression])[0])
        return None if row < 0 else self.arrays["maps"][row]

    def tokens(self, expression: str) -> np.ndarray | None:
        """Unit features (L, D) of the tokens of an expression, zero beyond its end, float32."""
        row = self._text_rows.get(expression)
        known = "tokens" in self.arrays and row is not None and row < self.manifest.expressions
        return self.arrays["tokens"][row] if known else None  # type: ignore[index]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings (N, D) of texts that are all in the store."""
        return self.arrays["text"][self.text_rows(texts)]

    def verify(self) -> list[Path]:
        """The files of shards that are not what was written; reads the whole store.

        Arrays of images (:mod:`vg_gym.features.image_arrays`) are checked too, by their checksums.
        """
        damaged = [array.path(number) for array in self.arrays.values() for number in array.verify()]
        own = {array.path(number) for array in self.arrays.values() for number in range(len(array.sizes))}
        others = sorted(path for path in self.path.glob("*-[0-9]*.npy") if path not in own)
        return damaged + [path for path in others if not is_intact(path)]
