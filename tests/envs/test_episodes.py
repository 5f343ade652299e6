import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.envs.episodes import Catalog, Episodes
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.errors import VGGymError


def test_targets_are_normalized_and_absent_from_queries(shapes, blind):
    episodes = Episodes(shapes)
    assert episodes.labeled and episodes.dataset == "refshapes" and len(episodes.queries()) == len(shapes)
    np.testing.assert_allclose(episodes.target(2), box_ops.normalize(shapes[2].box, (128, 128)))
    bare = Episodes(blind)
    assert not bare.labeled and bare.dataset == "queries" and np.isnan(bare.target(2)).all()
    with pytest.raises(VGGymError, match="no queries"):
        Episodes([])


def test_a_catalog_reads_what_is_played_and_nothing_else(shapes, tiny_clip):
    catalog = Catalog(Episodes(shapes), FeatureBank(tiny_clip))
    rows = catalog.load(np.array([4, 1, 4]))
    assert rows[0] == rows[2] != rows[1]
    assert np.flatnonzero(catalog.rows >= 0).tolist() == [1, 4]
    assert np.isnan(catalog.targets[0]).all() and catalog.identity["key"][4] == shapes[4].query.key
    np.testing.assert_allclose(catalog.targets[1] * catalog.scales[1], shapes[1].box, atol=1e-4)


def test_a_query_may_be_added(shapes, blind, tiny_clip):
    catalog = Catalog(Episodes(shapes), FeatureBank(tiny_clip))
    index = catalog.add(blind[3])
    assert index == len(shapes) and catalog.query(index) is blind[3]
    assert catalog.load(np.array([index]))[0] >= 0 and np.isnan(catalog.targets[index]).all()
