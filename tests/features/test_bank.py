"""What fails leaves nothing behind; a bank is shared only with those it suits."""

import numpy as np
import pytest

from vg_gym.envs import GroundingVectorEnv
from vg_gym.errors import VGGymError
from vg_gym.features.bank import FeatureBank
from vg_gym.storage.array_cache import ArrayCache
from vg_gym.types import Query


class Broken:
    """An image that cannot be read."""

    key, size = "broken", (64, 64)

    def array(self):
        raise VGGymError("damaged image")


def test_an_unreadable_image_leaves_nothing_behind(shapes, tiny_clip):
    good = [shapes[0].query, shapes[5].query]
    bank, clean = FeatureBank(tiny_clip), FeatureBank(tiny_clip)
    for query in good:
        with pytest.raises(VGGymError, match="damaged"):
            bank.row(Query(Broken(), "the red star", "k"))
        row, _ = bank.row(query)
        assert row == clean.row(query)[0]
        np.testing.assert_array_equal(bank.text.array[row], clean.text.array[row])
        np.testing.assert_array_equal(bank.maps.array[row], clean.maps.array[row])


@pytest.mark.parametrize(
    "options",
    [{"tokens": True}, {"phrases": True}, {"scoring": "lattice", "lattice": 3},
     {"scoring": "lattice", "lattice": 2, "score": "cosine"}, {"scoring": "dense"},
     {"proposals": "ssd:refshapes", "proposal_features": True}],
    ids=str,
)  # fmt: skip
def test_a_bank_is_shared_only_with_those_it_suits(options, shapes, tiny_clip):
    lattice = {"scoring": "lattice", "lattice": 2}
    own = {} if options.get("scoring") is None else lattice
    bank = GroundingVectorEnv(2, dataset=shapes, clip=tiny_clip, **own).engine.features
    assert GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, bank=bank, **own).engine.features is bank
    with pytest.raises(VGGymError, match="bank="):
        GroundingVectorEnv(2, dataset=shapes, clip=tiny_clip, bank=bank, **options)


def test_a_row_of_another_run_is_one_read(tiny_clip, shapes, monkeypatch):
    query, asked, get = shapes[0].query, [], ArrayCache.get
    first, again = (FeatureBank(tiny_clip, cache=True) for _ in range(2))
    row, _ = first.row(query)
    monkeypatch.setattr(ArrayCache, "get", lambda self, name: asked.append(name) or get(self, name))
    same, _ = again.row(query)
    assert len(asked) == 1
    for name in ("text", "maps", "overviews"):
        np.testing.assert_array_equal(getattr(again, name).array[same], getattr(first, name).array[row])
    first.close(), again.close()
