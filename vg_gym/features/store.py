"""The feature store of a data set on disk: dense features of images, embeddings of texts, score maps of queries.

``vg-gym features`` makes a store (:mod:`vg_gym.features.extraction`). Any number of processes can memory-map it, so
their memory does not grow with its size. A store is a folder with ``manifest.json``, the keys of the rows, and
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
"""Number of rows in a shard of texts per image in a shard of images."""


class FeatureStore:
    """A store of features; see :meth:`open`. Features that it lacks are None or row -1.

    Args:
        path: folder of the store, finished or not.

    Raises:
        VGGymError: the folder is not a feature store.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.manifest = Manifest.load(self.path)

    @classmethod
    def open(cls, path: str | Path, clip: ClipEncoder | None = None) -> FeatureStore:
        """Open a finished store.

        Args:
            path: folder of the store.
            clip: expected encoder of the features.

        Raises:
            VGGymError: the folder is not a feature store, is not finished, or has features of another CLIP.
        """
        store = cls(path)
        if clip is not None:
            store.check_clip(clip)
        missing = sum(len(array.missing()) for array in store.arrays.values())
        if missing:
            remedy = f"finish it with `{m}`" if (m := store.manifest.command) else "run again the program that makes it"
            raise VGGymError(f"{path} is not finished: {missing} shards are missing; {remedy}")
        return store

    def check_clip(self, clip: ClipEncoder) -> None:
        """Check that the features come from a CLIP.

        Raises:
            VGGymError: the store's features are not those of ``clip``.
        """
        mine = self.manifest
        if mine.fingerprint != clip.fingerprint:
            raise VGGymError(
                f"{self.path} has features of clip {mine.clip!r} ({mine.fingerprint[:12]}), but those of {clip.name!r} "
                f"({clip.fingerprint[:12]}) are needed; use that clip, or make a store of this one"
            )

    def check_parts(self, phrases: bool, tokens: bool) -> None:
        """Check that the store has the requested parts.

        Args:
            phrases: whether score maps of noun phrases are requested.
            tokens: whether features of tokens are requested.

        Raises:
            VGGymError: the store was made without them, or with the noun phrases of another version of vg_gym.
        """
        for name, requested in (("phrases", phrases), ("tokens", tokens)):
            if requested and not getattr(self.manifest, name):
                raise VGGymError(f"{self.path} was made without --{name}, which is needed: make it with --{name}")
        if phrases and self.manifest.stale_phrases:
            raise VGGymError(
                f"{self.path} has noun phrases of another version of vg_gym; make a new store with --phrases in "
                "another folder, or go without phrases"
            )

    @cached_property
    def keys(self) -> Keys:
        """Keys of the rows, read on first use.

        Raises:
            VGGymError: the files are missing or damaged.
        """
        try:
            keys = Keys.load(self.path)
            m = self.manifest
            counts = len(keys.images), len(keys.texts), len(keys.queries)
            intact = keys.digest == m.keys and counts == (m.images, m.texts, m.queries)
        except (OSError, EOFError, ValueError, TypeError) as error:
            raise VGGymError(f"{self.path} has damaged keys ({error}); delete it and make it again") from error
        if not intact:
            raise VGGymError(f"{self.path} has damaged keys (wrong checksum); delete it and make it again")
        return keys

    @cached_property
    def arrays(self) -> dict[str, ShardedArray]:
        """The arrays by name.

        - ``dense`` (images, g, g, D) float16;
        - ``text`` (texts, D) float32, so that an embedding from a store equals a computed one in every bit;
        - ``maps`` (queries, g, g, M) float16, in shards of the same images as those of ``dense``;
        - ``tokens`` (expressions, L, D) float32, if the store was made with them.
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
        """One number per query, int64 (Q,), ascending like the queries."""
        return self.keys.queries[:, 0].astype(np.int64) * self.manifest.expressions + self.keys.queries[:, 1]

    def dense_rows(self, image_keys: Sequence[str]) -> np.ndarray:
        """Return the rows (N,) of images in ``arrays["dense"]``; -1 for missing ones."""
        return np.array([self._image_rows.get(key, -1) for key in image_keys], np.int64)

    def text_rows(self, texts: Sequence[str]) -> np.ndarray:
        """Return the rows (N,) of texts in ``arrays["text"]``, for expressions also in ``tokens``; -1 if missing."""
        return np.array([self._text_rows.get(text, -1) for text in texts], np.int64)

    def map_rows(self, image_keys: Sequence[str], expressions: Sequence[str]) -> np.ndarray:
        """Return the rows (N,) of pairs of image and expression in ``arrays["maps"]``; -1 for missing ones."""
        images, texts = self.dense_rows(image_keys), self.text_rows(expressions)
        present = (images >= 0) & (texts >= 0) & (texts < self.manifest.expressions)
        codes = np.where(present, images * self.manifest.expressions + texts, -1)
        rows = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(self._codes[rows] == codes, rows, -1)

    def dense(self, image_key: str) -> np.ndarray | None:
        """Return the dense features of an image, float16 (g, g, D), or None."""
        row = self._image_rows.get(image_key)
        return None if row is None else self.arrays["dense"][row]

    def text(self, text: str) -> np.ndarray | None:
        """Return the unit embedding of an expression or a noun phrase, float32 (D,), or None."""
        row = self._text_rows.get(text)
        return None if row is None else self.arrays["text"][row]

    def maps(self, image_key: str, expression: str) -> np.ndarray | None:
        """Return the score maps of an expression about an image, float16 (g, g, M), or None."""
        row = int(self.map_rows([image_key], [expression])[0])
        return None if row < 0 else self.arrays["maps"][row]

    def tokens(self, expression: str) -> np.ndarray | None:
        """Return the unit features of an expression's tokens, float32 (L, D), zero after its end, or None."""
        row = self._text_rows.get(expression)
        present = "tokens" in self.arrays and row is not None and row < self.manifest.expressions
        return self.arrays["tokens"][row] if present else None  # type: ignore[index]

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return the embeddings (N, D) of texts that are all in the store."""
        return self.arrays["text"][self.text_rows(texts)]

    def verify(self) -> list[Path]:
        """Read the whole store and return the files of damaged shards.

        Arrays of images (:mod:`vg_gym.features.image_arrays`) are also checked by their checksums.
        """
        damaged = [array.path(number) for array in self.arrays.values() for number in array.verify()]
        expected = {array.path(number) for array in self.arrays.values() for number in range(len(array.sizes))}
        others = sorted(path for path in self.path.glob("*-[0-9]*.npy") if path not in expected)
        return damaged + [path for path in others if not is_intact(path)]
