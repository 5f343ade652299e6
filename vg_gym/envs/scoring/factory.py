"""Scorers by name. To add one, write a :class:`~vg_gym.envs.scoring.protocol.Scorer` and add a line here."""

from __future__ import annotations

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.crop import CropScorer
from vg_gym.envs.scoring.dense import DenseScorer
from vg_gym.envs.scoring.lattice import LatticeScorer
from vg_gym.envs.scoring.protocol import Scorer
from vg_gym.envs.scoring.relational import NAME as RELATIONAL
from vg_gym.envs.scoring.relational import RelationalScorer
from vg_gym.errors import unknown
from vg_gym.features.bank import QueryScores

SCORERS: dict[str, type[Scorer]] = {"dense": DenseScorer, "crop": CropScorer, "lattice": LatticeScorer}
"""Scorer classes by the value of ``scoring=``."""


def make_scorer(options: EnvOptions, catalog: Catalog) -> Scorer:
    """Build the scorer that ``options.scoring`` names.

    Raises:
        VGGymError: the scoring or the score is unknown.
    """
    return _scorer_class(options)(options, catalog)


def make_query_scores(options: EnvOptions, clip: ClipEncoder) -> QueryScores | None:
    """Return the function whose values ``options.scoring`` needs once per query; None if it needs none.

    Raises:
        VGGymError: the scoring or the score is unknown, or an option of the scorer is out of range.
    """
    return _scorer_class(options).query_scores(options, clip)


def _scorer_class(options: EnvOptions) -> type[Scorer]:
    if options.score == RELATIONAL:
        return RelationalScorer
    if options.scoring not in SCORERS:
        raise unknown("scoring", options.scoring, SCORERS)
    return SCORERS[options.scoring]
