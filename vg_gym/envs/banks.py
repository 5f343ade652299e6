"""Feature banks with what an environment needs."""

from __future__ import annotations

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.factory import make_query_scores
from vg_gym.features.bank import FeatureBank
from vg_gym.features.query_proposals import QueryProposals
from vg_gym.features.store import FeatureStore


def make_bank(episodes: Episodes, clip: ClipEncoder, options: EnvOptions) -> FeatureBank:
    """Build a bank with the features that an environment needs.

    Raises:
        VGGymError: the store ``features`` does not fit these episodes and this CLIP.
    """
    o, store = options, FeatureStore.open(options.features) if options.features else None
    bank = FeatureBank(
        clip, o.needs_tokens, o.phrases, o.memory, store, make_query_scores(o, clip), make_query_proposals(o, clip),
        o.edge_profiles, o.cache, words=o.proposal_features,
    )  # fmt: skip
    if store is not None:
        bank.prepare([episodes.query(0)])
    return bank


def make_query_proposals(options: EnvOptions, clip: ClipEncoder) -> QueryProposals | None:
    """Return the proposals that an environment observes; None if ``proposals`` is empty.

    Raises:
        VGGymError: the proposer is unknown, or its weights or package are missing.
    """
    if not options.proposals:
        return None
    o = options
    return QueryProposals(
        o.proposals, o.num_proposals, clip, o.min_confidence, o.targets == "any", features=o.proposal_features
    )
