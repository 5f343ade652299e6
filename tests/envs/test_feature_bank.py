"""Tables of images come and go, and what fails leaves nothing behind."""

import numpy as np
import pytest

from vg_gym.data.refshapes import RefShapes
from vg_gym.envs import GroundingVectorEnv
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.errors import VGGymError
from vg_gym.types import Query


def walk(data, clip, memory, n=3):
    env = GroundingVectorEnv(n, dataset=data, clip=clip, max_steps=2, memory=memory)
    env.action_space.seed(0)
    seen = [env.reset(seed=0)[0]]
    for _ in range(25):
        seen.append(env.step(env.action_space.sample())[0])
    return env.engine.features.images, seen


def test_little_memory_changes_nothing(tiny_clip):
    data = RefShapes("refshapes", "val", scenes=12)
    table = 4 * (tiny_clip.grid + 1) ** 2 * tiny_clip.dim / 2**30
    all_fit, wanted = walk(data, tiny_clip, 1.0)
    few, seen = walk(data, tiny_clip, 6.5 * table)
    assert few.capacity == 6 == len(few.tables[:6]) < all_fit.capacity
    for a, b in zip(wanted, seen, strict=True):
        for name, values in a.items():
            np.testing.assert_array_equal(values, b[name], err_msg=name)
    with pytest.raises(VGGymError, match="raise memory="):
        walk(data, tiny_clip, 2.5 * table, n=8)


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
        row = bank.row(query)
        assert row == clean.row(query)
        np.testing.assert_array_equal(bank.text[row], clean.text[row])
        np.testing.assert_array_equal(bank.maps[row], clean.maps[row])
