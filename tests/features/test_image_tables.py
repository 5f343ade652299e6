"""Tables of images come and go, and nothing changes by it."""

import gc
import weakref

import numpy as np
import pytest

from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingVectorEnv
from vg_gym.errors import VGGymError
from vg_gym.features.bank import FeatureBank
from vg_gym.features.image_tables import Handles
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
    assert few.capacity == 6 == len(few.tables.array[:6]) < all_fit.capacity
    for a, b in zip(wanted, seen, strict=True):
        for name, values in a.items():
            np.testing.assert_array_equal(values, b[name], err_msg=name)
    with pytest.raises(VGGymError, match="raise memory="):
        walk(data, tiny_clip, 2.5 * table, n=8)


def test_pictures_that_were_asked_of_are_not_kept(tiny_clip, rng):
    table = 4 * (tiny_clip.grid + 1) ** 2 * tiny_clip.dim / 2**30
    bank, left = FeatureBank(tiny_clip, memory=5.5 * table), weakref.WeakSet()
    bank.capacity = 3

    def ask(image):
        row = np.array([bank.row(Query(image, "the red square", "one"))[0]])
        return bank.slots(row, lambda _: image), image

    first = ArrayImage(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    slot, _ = ask(first)
    table_of_first = bank.images.tables.array[slot].copy()
    for _ in range(40):
        _, image = ask(ArrayImage(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)))
        left.add(image)
    del image
    gc.collect()
    assert not left
    assert len(bank.images.handles) <= bank.capacity + bank.images.capacity + 1
    slot, _ = ask(first)
    np.testing.assert_array_equal(bank.images.tables.array[slot], table_of_first)


def test_a_handle_is_free_when_nobody_holds_it_and_it_has_no_slot():
    handles = Handles()
    first = handles.hold("a")
    assert handles.hold("a") == first != handles.hold("b")
    handles.slots[first] = 0
    handles.release(first)
    handles.leave_slot(first)
    assert handles.hold("c") != first, "a row still holds it"
    handles.slots[first] = 1
    handles.release(first)
    assert handles.hold("a") == first, "its tables are in memory"
    handles.release(first)
    handles.leave_slot(first)
    assert handles.hold("d") == first and handles.hold("a") == len(handles) - 1 == 3
