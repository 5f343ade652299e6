"""Drawn scenes on the disk: files of a few scenes each in the cache folder, with their labels and JPEG files.

A file begins with the length of its header, eight bytes. The header is JSON; the JPEG files follow it. A file that does
not exist is drawn when one of its scenes is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.data.worlds.refscenes.records import DRAWING, Labels, SceneRecord, draw
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.storage.files import cache_place, go_on_without_cache, make_folder, replacing

SCENES_PER_CHUNK = 8
"""Number of scenes in a file."""
MAX_CHUNKS_IN_MEMORY = 2048
"""Number of files whose labels stay in memory, about 20 KB each."""
MAX_DRAWN_IN_MEMORY = 32
"""Number of files whose drawn scenes stay in memory, about 100 KB each."""
LENGTH_BYTES = 8
"""Size in bytes of the length of the header."""


def pixels_of(record: SceneRecord) -> np.ndarray:
    """Return the pixels of a scene, uint8 RGB (H, W, 3)."""
    first, place = _first(record), record.index % SCENES_PER_CHUNK
    path = _path(first)
    if path.exists():
        start, size = _chunk(first)[1][place]
        with path.open("rb") as file:
            file.seek(start)
            content = file.read(size)
    else:  # the cache folder cannot be written, or was emptied
        content = _drawn(first)[place][0]
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def labels_of(record: SceneRecord) -> Labels:
    """Return the labels of a scene."""
    return _chunk(_first(record))[0][record.index % SCENES_PER_CHUNK]


def _first(record: SceneRecord) -> SceneRecord:
    """Return the first scene of the file of a scene."""
    index = record.index // SCENES_PER_CHUNK * SCENES_PER_CHUNK
    return replace(record, index=index)


def _path(first: SceneRecord) -> Path:
    folder = cache_place(first.name, DRAWING, f"{first.split}-s{first.seed}-{first.image_size}px")
    return folder / f"{first.index // SCENES_PER_CHUNK:07d}.scenes"


@lru_cache(MAX_CHUNKS_IN_MEMORY)
def _chunk(first: SceneRecord) -> tuple[tuple[Labels, ...], tuple[tuple[int, int], ...]]:
    """Return the labels of the scenes of a file, and (start, size) in bytes of their JPEG files."""
    path = _path(first)
    if path.exists():
        return _read(path)
    scenes = _drawn(first)
    return tuple(labels for _, labels in scenes), _places(len(_header(scenes)), [len(file) for file, _ in scenes])


@lru_cache(MAX_DRAWN_IN_MEMORY)
def _drawn(first: SceneRecord) -> tuple[tuple[bytes, Labels], ...]:
    """Draw the scenes of a file and write it; if it cannot be written, a warning says so."""
    scenes = tuple(draw(replace(first, index=first.index + i)) for i in range(SCENES_PER_CHUNK))
    header, path = _header(scenes), _path(first)
    try:
        make_folder(path.parent)
        with replacing(path) as part, part.open("wb") as out:
            out.write(len(header).to_bytes(LENGTH_BYTES, "big") + header)
            out.writelines(file for file, _ in scenes)
    except CannotWrite as error:
        go_on_without_cache(error)
    return scenes


def _header(scenes: Sequence[tuple[bytes, Labels]]) -> bytes:
    return json.dumps([{**asdict(labels), "bytes": len(file)} for file, labels in scenes]).encode()


def _places(header_bytes: int, sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return (start, size) of the JPEG files behind a header."""
    starts = np.cumsum([LENGTH_BYTES + header_bytes, *sizes]).tolist()
    return tuple(zip(starts[:-1], sizes, strict=True))


def _read(path: Path) -> tuple[tuple[Labels, ...], tuple[tuple[int, int], ...]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "big")
            rows = json.loads(file.read(length))
        places = _places(length, [row["bytes"] for row in rows])
        labels = tuple(_labels(row) for row in rows)
        if path.stat().st_size != sum(places[-1]) or len(rows) != SCENES_PER_CHUNK:
            raise ValueError(f"{path.stat().st_size} bytes, expected {sum(places[-1])}")
    except (OSError, ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
        raise VGGymError(f"cannot read {path} ({error}); delete it, and its scenes are drawn again") from error
    return labels, places


def _labels(row: dict[str, Any]) -> Labels:
    return Labels(
        (row["size"][0], row["size"][1]),
        row["attempt"],
        tuple(row["kinds"]),
        tuple(row["numbers"]),
        tuple(tuple(box) for box in row["boxes"]),
        tuple((text, kind, tuple(targets)) for text, kind, targets in row["expressions"]),
    )
