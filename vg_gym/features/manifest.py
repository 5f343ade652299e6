"""What a feature store is of: the keys of its rows, and the manifest of how they were made."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import get_origin, get_type_hints

import numpy as np

from vg_gym.errors import VGGymError
from vg_gym.features.score_maps import SCAN_SIZES, texts_of
from vg_gym.language.parsing import PHRASE_RULES
from vg_gym.storage.files import replacing, write_json, write_text
from vg_gym.storage.npy import read_npy
from vg_gym.types import Query

FORMAT = f"1, scan {SCAN_SIZES}"
"""Raise the number when the files, or the arithmetic behind what is in them, change their meaning."""


@dataclass(frozen=True)
class Keys:
    """What the rows of a store are of."""

    images: list[str]
    """Keys of the images."""
    texts: list[str]
    """Distinct texts: first the expressions, then what noun phrases are not among them."""
    queries: np.ndarray
    """Rows of image and expression (Q, 2) int32 of the score maps, sorted, so that an image's are side by side."""

    @classmethod
    def of(cls, queries: Iterable[Query], phrases: bool) -> tuple[Keys, np.ndarray]:
        """The keys of queries, in order of first appearance; and which query (images,) is the first about each image.

        Queries are read once, one after the other, and not kept.
        """
        images: dict[str, int] = {}
        texts: dict[str, int] = {}
        named = array("i")
        for query in queries:
            named.append(images.setdefault(query.image.key, len(images)))
            named.append(texts.setdefault(query.expression, len(texts)))
        pairs = np.array(named, np.int32).reshape(-1, 2)
        first = np.unique(pairs[:, 0], return_index=True)[1]
        parts = (part for text in [*texts] for part in texts_of(text, phrases) if part)
        every = [*dict.fromkeys(chain(texts, parts))]
        return cls([*images], every, np.unique(pairs, axis=0)), first

    @property
    def expressions(self) -> int:
        """Number of distinct expressions; they are the first of the texts."""
        return int(self.queries[:, 1].max()) + 1

    def of_image(self, row: int) -> np.ndarray:
        """Rows (K,) of the expressions about an image, in the order of its score maps."""
        first, last = np.searchsorted(self.queries[:, 0], [row, row + 1])
        return self.queries[first:last, 1]

    @cached_property
    def digest(self) -> str:
        """A hash of all keys."""
        digest = hashlib.sha256()
        for part in (_lines(self.images), _lines(self.texts)):
            digest.update(part.encode())
        digest.update(self.queries.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write them to a folder, as one JSON string a line and an array."""
        write_text(folder / "images.jsonl", _lines(self.images))
        write_text(folder / "texts.jsonl", _lines(self.texts))
        with replacing(folder / "queries.npy") as part, part.open("wb") as file:
            np.save(file, self.queries, allow_pickle=False)

    @staticmethod
    def are_in(folder: Path) -> bool:
        """Whether all of their files are in a folder."""
        return all((folder / name).is_file() for name in ("images.jsonl", "texts.jsonl", "queries.npy"))

    @classmethod
    def load(cls, folder: Path) -> Keys:
        """Read them back."""
        # One document is parsed many times faster than as many as there are lines.
        images, texts = (
            json.loads(f"[{','.join((folder / name).read_text().splitlines())}]")
            for name in ("images.jsonl", "texts.jsonl")
        )
        return cls(images, texts, read_npy(folder / "queries.npy"))


def _lines(keys: Iterable[str]) -> str:
    return "".join(f"{json.dumps(key)}\n" for key in keys)  # as ASCII: any character may be in a key


@dataclass(frozen=True)
class Manifest:
    """What a store was made of, with what, and its size: the contents of ``manifest.json``."""

    clip: str
    """Name of the CLIP."""
    fingerprint: str
    """Of the CLIP's weights and of how they are used."""
    grid: int
    """g, cells a side of dense features and score maps."""
    dim: int
    """D, width of the features."""
    phrases: bool
    """Are there score maps of noun phrases?"""
    tokens: int
    """Token features of each expression; 0 where there are none."""
    images: int
    """Number of images."""
    texts: int
    """Number of distinct texts: expressions and noun phrases."""
    expressions: int
    """Number of distinct expressions."""
    queries: int
    """Number of distinct pairs of image and expression."""
    shard: int
    """Images per shard."""
    keys: str
    """Hash of all keys."""
    device: str
    """Kind of device its shards are made on: those of a GPU are of another precision."""
    made: str
    """Date and time of its beginning."""
    dataset: str = ""
    """Name of the data set, where one was read."""
    root: str = ""
    """Its folder."""
    splits: list[str] = field(default_factory=list)
    """Its splits that were read."""
    command: str = ""
    """What makes it, and goes on where it was."""
    format: str = FORMAT
    """Version of the files and of the arithmetic behind them."""
    phrase_rules: int = 0
    """Version of the rules that cut noun phrases out of expressions; 0: from before there were versions."""

    @property
    def stale_phrases(self) -> bool:
        """Whether there are score maps of noun phrases, and other rules cut these than do so now."""
        return self.phrases and self.phrase_rules != PHRASE_RULES

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """The manifest of a folder.

        Raises:
            VGGymError: there is none, or it is of another version.
        """
        path = folder / "manifest.json"
        try:
            found = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise VGGymError(
                f"{folder} is no feature store: it has no manifest.json; make one with "
                f"`vg-gym features --dataset NAME --clip CLIP --out {folder}`"
            ) from error
        except ValueError as error:
            raise VGGymError(f"{path} is damaged ({error}); delete {folder} and make it anew") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise VGGymError(f"{folder} was made by another version of vg_gym; make a new store in another folder")
        try:
            made = cls(**found)
            made._check()
        except TypeError as error:
            raise VGGymError(f"{path} is damaged ({error}); delete {folder} and make it anew") from error
        return made

    def _check(self) -> None:
        """Every field has its type, and what is counted is counted.

        Raises:
            TypeError: names one that is not so.
        """
        for name, hint in get_type_hints(type(self)).items():
            value, kind = getattr(self, name), get_origin(hint) or hint
            least = 0 if name in ("tokens", "phrase_rules") else 1
            if type(value) is not kind or (kind is int and not least <= value < 2**40):
                raise TypeError(f"{name} is {value!r:.40}")

    def save(self, folder: Path) -> None:
        """Write it to a folder."""
        write_json(folder / "manifest.json", asdict(self))
