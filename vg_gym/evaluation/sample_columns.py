"""Columns of all samples that the evaluation of methods needs. Each sample is read once and not stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from sys import intern
from zlib import crc32

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.evaluation.methods import readable_size
from vg_gym.evaluation.queries import ContentHash
from vg_gym.types import Query, Sample


class SampleColumns:
    """Columns of N samples, about 90 bytes per sample.

    Args:
        samples: samples to read.
        name: name of the data set, for errors.
        decode: whether to decode all images, which finds damaged ones.

    Raises:
        VGGymError: two samples have the same key.
    """

    def __init__(self, samples: Sequence[Sample], name: str, decode: bool):
        count = len(samples)
        boxes = np.empty((count, 4), np.result_type(samples[0].box, np.float32))
        self.scales = np.ones((count, 4), np.float32)
        """(width, height, width, height) of the images, (N, 4); 1 for images that cannot be read."""
        self.hashes = np.empty(count, np.int64)
        """Hashes (N,) of the keys, as from :func:`vg_gym.evaluation.predictions.key_hashes`."""
        self.kinds: list[str] = []
        """N kinds of expression."""
        self.unreadable: dict[int, Exception] = {}
        """Index of a sample -> error of reading its image."""
        self._sizes: dict[str, tuple[int, int] | Exception] = {}
        self._pictures = hashlib.sha256()
        marks, groups, content = np.empty(count, np.uint32), [], ContentHash()
        for i, sample in enumerate(tqdm(samples, desc="samples", unit="sample", delay=2)):
            query = sample.query
            boxes[i], self.hashes[i] = sample.box, hash(query.key)
            marks[i] = crc32(query.key.encode())
            groups.append(sample.image_id)
            self.kinds.append(intern(sample.kind))
            content.add(query.key, query.expression, sample.box.tolist())
            self._note_size(i, query, decode)
        self._sizes.clear()
        self.boxes = boxes
        """True boxes (N, 4), pixels."""
        self.pictures = self._pictures.hexdigest()[:16]
        """Hash of the keys of all images; it changes if an image file changes."""
        self.targets = boxes / self.scales
        """True boxes (N, 4), normalised."""
        self.groups = np.array(groups)
        """Image ids (N,)."""
        self.turns = _turns(self.groups, marks)
        """Position (N,) of each sample in the order in which methods receive them."""
        self.content = str(content)
        """Hash of keys, expressions and true boxes."""
        self._refuse_clashes(samples, name)

    def _note_size(self, index: int, query: Query, decode: bool) -> None:
        """Note the size of an image, or the error of reading it; each image is read once."""
        if (key := query.image.key) not in self._sizes:
            self._sizes[key] = readable_size(query, decode)
            self._pictures.update(key.encode())
        size = self._sizes[key]
        if isinstance(size, Exception):
            self.unreadable[index] = size
        else:
            self.scales[index] = box_ops.image_scale(size)

    def _refuse_clashes(self, samples: Sequence[Sample], name: str) -> None:
        """Raise an error if two samples have the same key, as they would share a prediction."""
        _, first, inverse = np.unique(self.hashes, return_index=True, return_inverse=True)
        before = first[inverse]
        for i in np.flatnonzero(before != np.arange(len(before)))[:1].tolist():
            raise VGGymError(
                f"samples {before[i]} and {i} of {name} have the same key {samples[i].query.key!r}; keys must differ"
            )

    @cached_property
    def readable(self) -> np.ndarray:
        """Indices (M,) of the samples whose images can be read."""
        return np.delete(np.arange(len(self.scales)), list(self.unreadable))


def _turns(groups: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Return the positions (N,) of samples in an order that keeps images together and is random within an image.

    Args:
        groups: image ids of the samples, (N,).
        marks: hashes of their keys, (N,), which give the order within an image.
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    turns = np.empty(len(groups), np.int64)
    turns[np.lexsort((marks, first[inverse]))] = np.arange(len(groups))
    return turns
