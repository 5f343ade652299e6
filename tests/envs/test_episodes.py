import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.envs.episodes import Catalog, Episodes
from vg_gym.errors import VGGymError
from vg_gym.features.bank import FeatureBank


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


def test_a_query_may_be_a_guest(shapes, blind, tiny_clip):
    catalog = Catalog(Episodes(shapes), FeatureBank(tiny_clip))
    index = catalog.add(blind[3], np.zeros(1))
    assert index == len(shapes) and catalog.query(index) is blind[3]
    assert catalog.load(np.array([index]))[0] >= 0 and np.isnan(catalog.targets[index]).all()


def test_guests_are_few_and_who_is_played_stays(shapes, blind, tiny_clip):
    catalog = Catalog(Episodes(shapes), FeatureBank(tiny_clip), guests=3)
    size = len(catalog.rows)
    stays = catalog.add(blind[0], np.array([2]))
    for query in [*blind[1:], *blind[1:]]:
        index = catalog.add(query, np.array([2, stays]))
        assert catalog.add(query, np.array([2, stays])) == index != stays
        assert catalog.query(index) is query and catalog.query(stays) is blind[0]
    assert len(catalog.rows) == size


def test_rows_of_the_bank_are_given_away_and_made_anew(shapes, tiny_clip):
    small, large = FeatureBank(tiny_clip), FeatureBank(tiny_clip)
    small.capacity = 3
    catalogs = [Catalog(Episodes(shapes), bank) for bank in (small, large)]
    for index in [0, 1, 2, 3, 4, 0, 1, 7, 0, 5, 5, 3]:
        rows = [catalog.load(np.array([index])) for catalog in catalogs]
        for part in ("text", "maps", "overviews"):
            ours, theirs = (getattr(bank, part).array[row] for bank, row in zip((small, large), rows, strict=True))
            np.testing.assert_array_equal(ours, theirs)
        image = shapes[index].query.image
        slots = [bank.slots(row, {0: image}.get) for bank, row in zip((small, large), rows, strict=True)]
        assert slots[0] == slots[1]
    assert len(small._names) == len(small._rows) == 3
    with pytest.raises(VGGymError, match="raise memory="):
        catalogs[0].load(np.arange(5))
