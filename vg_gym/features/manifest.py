"""The keys of a feature store's rows, and its manifest."""

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
"""Version of the files and of the arithmetic behind them; increase the number when either changes its meaning."""


@dataclass(frozen=True)
class Keys:
    """Keys of the rows of a store."""

    images: list[str]
    """Keys of the images."""
    texts: list[str]
    """Distinct texts: first the expressions, then the noun phrases that are not expressions."""
    queries: np.ndarray
    """Rows of image and expression of each score map, int32 (Q, 2), sorted, so that those of an image are adjacent."""

    @classmethod
    def of(cls, queries: Iterable[Query], phrases: bool) -> tuple[Keys, np.ndarray]:
        """Return the keys of queries in order of first occurrence, and the first query of each image (images,).

        Queries are read once, one after the other, and not stored.
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
        """Number of distinct expressions, which come first among the texts."""
        return int(self.queries[:, 1].max()) + 1

    def of_image(self, row: int) -> np.ndarray:
        """Return the rows (K,) of the expressions of an image, in the order of its score maps."""
        first, last = np.searchsorted(self.queries[:, 0], [row, row + 1])
        return self.queries[first:last, 1]

    @cached_property
    def digest(self) -> str:
        """Hash of all keys."""
        digest = hashlib.sha256()
        for part in (_lines(self.images), _lines(self.texts)):
            digest.update(part.encode())
        digest.update(self.queries.tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the keys to a folder: files with one JSON string per line, and an array."""
        write_text(folder / "images.jsonl", _lines(self.images))
        write_text(folder / "texts.jsonl", _lines(self.texts))
        with replacing(folder / "queries.npy") as part, part.open("wb") as file:
            np.save(file, self.queries, allow_pickle=False)

    @staticmethod
    def are_in(folder: Path) -> bool:
        """Return whether a folder has all files of the keys."""
        return all((folder / name).is_file() for name in ("images.jsonl", "texts.jsonl", "queries.npy"))

    @classmethod
    def load(cls, folder: Path) -> Keys:
        """Read the keys of a folder."""
        # One document is parsed many times faster than one document per line.
        images, texts = (
            json.loads(f"[{','.join((folder / name).read_text().splitlines())}]")
            for name in ("images.jsonl", "texts.jsonl")
        )
        return cls(images, texts, read_npy(folder / "queries.npy"))


def _lines(keys: Iterable[str]) -> str:
    return "".join(f"{json.dumps(key)}\n" for key in keys)  # in ASCII, since a key may contain any character


@dataclass(frozen=True)
class Manifest:
    """Source, encoder and size of a store: the contents of ``manifest.json``."""

    clip: str
    """Name of the CLIP."""
    fingerprint: str
    """Fingerprint of the CLIP's weights and of their use."""
    grid: int
    """Number g of cells on a side of dense features and score maps."""
    dim: int
    """Width D of the features."""
    phrases: bool
    """True if the store has score maps of noun phrases."""
    tokens: int
    """Number of token features of each expression; 0 without token features."""
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
    """Kind of device that makes the shards; a GPU gives another precision."""
    made: str
    """Date and time at which the store was begun."""
    dataset: str = ""
    """Name of the data set, if there is one."""
    root: str = ""
    """Folder of the data set."""
    splits: list[str] = field(default_factory=list)
    """Splits of the data set in the store."""
    command: str = ""
    """Command that makes the store and resumes an interrupted run."""
    format: str = FORMAT
    """Version of the files and of the arithmetic behind them."""
    phrase_rules: int = 0
    """Version of the rules that find noun phrases in expressions; 0 for stores older than the first version."""

    @property
    def stale_phrases(self) -> bool:
        """True if the store has score maps of noun phrases that other rules than the present ones found."""
        return self.phrases and self.phrase_rules != PHRASE_RULES

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises:
            VGGymError: the manifest is missing or damaged, or it has another version.
        """
        path = folder / "manifest.json"
        try:
            fields = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise VGGymError(
                f"{folder} is not a feature store: it has no manifest.json; make one with "
                f"`vg-gym features --dataset NAME --clip CLIP --out {folder}`"
            ) from error
        except ValueError as error:
            raise VGGymError(f"{path} is damaged ({error}); delete {folder} and make it again") from error
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise VGGymError(f"{folder} was made by another version of vg_gym; make a new store in another folder")
        try:
            manifest = cls(**fields)
            manifest._check()
        except TypeError as error:
            raise VGGymError(f"{path} is damaged ({error}); delete {folder} and make it again") from error
        return manifest

    def _check(self) -> None:
        """Check the types of the fields and the ranges of the counts.

        Raises:
            TypeError: a field is wrong; the message names it.
        """
        for name, hint in get_type_hints(type(self)).items():
            value, kind = getattr(self, name), get_origin(hint) or hint
            minimum = 0 if name in ("tokens", "phrase_rules") else 1
            if type(value) is not kind or (kind is int and not minimum <= value < 2**40):
                raise TypeError(f"{name} is {value!r:.40}")

    def save(self, folder: Path) -> None:
        """Write the manifest to a folder."""
        write_json(folder / "manifest.json", asdict(self))
