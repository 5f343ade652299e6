"""What every scorer is: the one interface between the engine and the ways to compute a CLIP score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.feature_bank import QueryScores
from vg_gym.envs.options import EnvOptions


class Playing(NamedTuple):
    """What B rows of an engine are playing; arrays, or tensors on the engine's device where it says so."""

    episodes: np.ndarray
    """Numbers of the episodes in the catalog (B,), always an array."""
    rows: Any
    """Rows of the queries in the bank (B,)."""
    slots: Any
    """Slots of the images in ``bank.images`` (B,)."""
    text: Any
    """Unit embeddings of the expressions (B, D)."""


class Scorer(ABC):
    """Region features and CLIP scores of one box per row.

    What can be computed once for a query is not the scorer's to keep: :meth:`query_scores` says how it is computed, the
    feature bank keeps it, and :meth:`score` looks it up at every step.

    Args:
        options: of the environment.
        catalog: the episodes that are played, and the bank with their features.

    Raises:
        VGGymError: the score is unknown.
    """

    def __init__(self, options: EnvOptions, catalog: Catalog):
        self.options, self.catalog, self.bank = options, catalog, catalog.bank

    @classmethod
    def query_scores(cls, options: EnvOptions, clip: ClipEncoder) -> QueryScores | None:
        """What the bank should compute once for each query; None where there is nothing."""
        return None

    @abstractmethod
    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """Measure the boxes of B rows.

        Args:
            boxes: normalised (B, 4), an array or a tensor.
            playing: what these rows are playing.

        Returns:
            Unit region features (B, D) and scores (B,), float32 arrays or tensors.
        """
