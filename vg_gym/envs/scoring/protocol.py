"""Interface between the engine and the ways to compute a CLIP score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.features.bank import QueryScores


class Playing(NamedTuple):
    """Episodes that B rows of an engine play; arrays, or tensors on the engine's device where stated."""

    episodes: np.ndarray
    """Index of each episode in the catalog (B,), always an array."""
    rows: Any
    """Row of each query in the bank (B,), array or tensor."""
    slots: Any
    """Slot of each image in ``bank.images`` (B,), array or tensor."""
    text: Any
    """Unit embeddings of the expressions (B, D), array or tensor."""


class Scorer(ABC):
    """Computes region features and CLIP scores of one box per row.

    A scorer does not store values that depend on the query alone. :meth:`query_scores` returns the function that
    computes them, the feature bank stores them, and :meth:`score` looks them up in every step.

    Args:
        options: options of the environment.
        catalog: the episodes that are played, and the bank with their features.

    Raises:
        VGGymError: the score is unknown.
    """

    def __init__(self, options: EnvOptions, catalog: Catalog):
        self.options, self.catalog, self.bank = options, catalog, catalog.bank

    @classmethod
    def query_scores(cls, options: EnvOptions, clip: ClipEncoder) -> QueryScores | None:
        """Return the function whose values the bank computes once per query; None if the scorer needs none."""
        return None

    @abstractmethod
    def score(self, boxes: Any, playing: Playing) -> tuple[Any, Any]:
        """Measure the boxes of B rows.

        Args:
            boxes: normalised (B, 4), an array or a tensor.
            playing: the episodes that these rows play.

        Returns:
            Unit region features (B, D) and scores (B,), float32 arrays or tensors.
        """
