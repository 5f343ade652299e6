"""``scoring="crop"``: the named scores from encoded crops (:mod:`vg_gym.clip.crop_scores`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from vg_gym.boxes import to_numpy
from vg_gym.clip.crop_scores import CropScores
from vg_gym.clip.scores import negative_texts
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.protocol import Playing, Scorer


class CropScorer(Scorer):
    """Encodes the crops of all rows in one forward pass, except those in the cache."""

    def __init__(self, options: EnvOptions, catalog: Catalog):
        super().__init__(options, catalog)
        clip = self.bank.clip
        self.crops = CropScores(clip, options.score, negative_texts(clip, options.score))

    def score(self, boxes: Any, playing: Playing) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Scorer.score`."""
        queries = [self.catalog.query(int(index)) for index in playing.episodes]
        return self.crops(queries, to_numpy(boxes) * self.catalog.scales[playing.episodes], to_numpy(playing.text))
