"""``scoring="lattice"``: crop scores of all boxes on a lattice, computed once per query and then looked up.

The score of a box is the score of the crop whose edges are moved to the nearest of K + 1 lines per axis. It is exact on
the lattice, and a step costs O(1) whatever the size of the CLIP. There are (K (K + 1) / 2) ** 2 boxes, 1,296 for K = 8.
The lattice pays if a query is played more often than that, or if scores are computed once, on a GPU, for many runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.crop_scores import CropScores
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import negative_texts
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.dense import DenseScorer
from vg_gym.envs.scoring.protocol import Playing, Scorer
from vg_gym.errors import VGGymError
from vg_gym.storage.files import cache_place, fingerprint
from vg_gym.storage.shards import ShardedArray, even_sizes
from vg_gym.types import Query

MAX_CELLS = 16
"""Largest number of cells per axis."""
QUERIES_PER_SHARD = 32
"""Number of queries whose scores are written together."""


def snap(boxes: Any, cells: int) -> Any:
    """Return the indices (B,), int64, of the lattice boxes nearest to normalised boxes (B, 4); arrays or tensors.

    Edges move to the nearest line. A side that would vanish becomes the cell around its middle.
    """
    xp = box_ops.namespace(boxes)
    low, high = xp.round(boxes[:, :2] * cells), xp.round(boxes[:, 2:] * cells)
    middle = box_ops.clamp(xp.floor((boxes[:, :2] + boxes[:, 2:]) / 2 * cells), 0, cells - 1)
    gone = high <= low
    low, high = xp.where(gone, middle, low), xp.where(gone, middle + 1, high)
    pair = low * cells - low * (low - 1) / 2 + high - low - 1
    number = pair[:, 0] * (cells * (cells + 1) // 2) + pair[:, 1]
    return number.astype(np.int64) if xp is np else number.long()


class LatticeScores:
    """Computes crop scores (L,) of all lattice boxes for a query.

    Args:
        clip: encoder of crops and expressions.
        score: name of the score.
        negatives: unit embeddings (N, D) for ``contrast``.
        cells: number of cells per axis, K.

    Raises:
        VGGymError: K is out of range.
    """

    def __init__(self, clip: ClipEncoder, score: str, negatives: np.ndarray | None, cells: int):
        if not 2 <= cells <= MAX_CELLS:
            raise VGGymError(f"lattice={cells} must be between 2 and {MAX_CELLS}: there are (K (K + 1) / 2)^2 boxes")
        self.clip, self.boxes = clip, lattice_boxes(cells)
        self.count = len(self.boxes)
        # Expressions of one image follow each other, so the next expression finds its crops in the cache.
        self._crops = CropScores(clip, score, negatives, embeddings=4 * len(self.boxes))
        self.fingerprint = fingerprint(clip.fingerprint, score, cells)
        self._stored: dict[tuple[str, str], tuple[ShardedArray, int]] = {}

    def __call__(self, query: Query) -> np.ndarray:
        """Return the scores (L,) of a query, float32."""
        name = (query.image.key, query.expression)
        if name in self._stored:
            array, row = self._stored[name]
            return array[row]
        text = np.broadcast_to(self.clip.encode_text([query.expression]), (self.count, self.clip.dim))
        return self._crops([query] * self.count, box_ops.denormalize(self.boxes, query.image.size), text)[1]

    def prepare(self, queries: Sequence[Query], progress: bool = False) -> None:
        """Compute the scores of many queries and store them in the cache folder, or find them there.

        The scores that an interrupted run has computed are not lost.
        """
        names = [(query.image.key, query.expression) for query in queries]
        sizes = even_sizes(len(names), QUERIES_PER_SHARD)
        folder = cache_place("lattice", fingerprint(self.fingerprint, names)[:24])
        array = ShardedArray(folder, "scores", sizes, (self.count,), np.float32)
        missing = array.missing()
        done = len(names) - sum(sizes[number] for number in missing)
        with tqdm(desc="lattice scores", unit="query", total=len(names), initial=done, disable=not progress) as bar:
            for number in missing:
                first, last = array.span(number)
                array.write(number, np.stack([self(query) for query in queries[first:last]]))
                bar.update(last - first)
        self._stored.update({name: (array, row) for row, name in enumerate(names)})


class LatticeScorer(Scorer):
    """Looks up the score of the nearest lattice box; the features of the region are dense."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        # The cosine is the cheapest score; only the features of this scorer are used.
        self._dense = DenseScorer(replace(options, score="cosine"), catalog)

    @classmethod
    def query_scores(cls, options: EnvOptions, clip: ClipEncoder) -> LatticeScores:
        """See :meth:`Scorer.query_scores`."""
        return LatticeScores(clip, options.score, negative_texts(clip, options.score), options.lattice)

    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """See :meth:`Scorer.score`."""
        region, _ = self._dense.score(boxes, playing)
        return region, self.bank.scores.like(boxes)[playing.rows, snap(boxes, self.options.lattice)]
