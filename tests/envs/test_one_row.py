"""A row has the same numbers, whatever rows are beside it; a lone environment is one row."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingEnv
from vg_gym.envs.actions import ACTIONS
from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG

SCORES = ("cosine", "context", "surround", "contrast")
PARTS = ({"tokens": True, "phrases": True}, {"glimpse_features": True},
         {"edge_profiles": True, "proposals": "ssd", "proposal_features": True},
         {"observation": "pixels"}, {"precision": "float16"})  # fmt: skip


def engines(**options):
    """An engine of one row and one of two, whose rows have the same key."""
    data = RefShapes("refshapes", "val", scenes=3)
    one = make_engine(1, data, initial_box="random", **options)
    two = make_engine(2, data, bank=one.features, initial_box="random", **options)
    return one, two


def begun(engine):
    engine.reset_rows(np.arange(engine.num_envs), CounterRNG(np.full(engine.num_envs, 5)))
    return engine


def assert_same(one, two, when):
    """Observations, scores and the rest are those of the first row, to the bit."""
    seen, wanted = one.observe(), two.observe()
    assert seen.keys() == wanted.keys()
    for name, values in seen.items():
        assert values.dtype == wanted[name].dtype and values.shape == (1, *wanted[name].shape[1:]), name
        np.testing.assert_array_equal(values[0], wanted[name][0], err_msg=f"{name} {when}")
        assert one.observation_space[name].contains(values[0]), name
    for name in ("boxes", "score", "score_change", "potential", "region"):
        np.testing.assert_array_equal(getattr(one, name)[0], getattr(two, name)[0], err_msg=f"{name} {when}")


@pytest.mark.parametrize("options", [*({"score": score} for score in SCORES), *PARTS], ids=str)
def test_a_lone_row_is_the_first_of_two(options):
    one, two = (begun(engine) for engine in engines(max_steps=40, min_steps=40, **options))
    rng = np.random.default_rng(0)
    assert_same(one, two, "at first")
    for step in range(12):
        low = rng.uniform(-0.1, 0.9, (1, 2))
        box = np.concatenate([low, low + rng.uniform(0, 0.8, (1, 2))], axis=1)  # some have to be fitted in
        if step == 0:
            box = np.array([[0, 0, 1, 1]])
        result, wanted = one.place(box), two.place(np.repeat(box, 2, axis=0))
        assert_same(one, two, f"in step {step}")
        assert result.reward[0] == wanted.reward[0]


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_set(action):
    proposals = {"proposals": "ssd"} if action == "jump-edges" else {}
    one, two = (begun(engine) for engine in engines(action=action, max_steps=12, **proposals))
    one.actions.space.seed(0)
    for step in range(12):
        move = one.actions.space.sample()
        result, wanted = one.step(np.asarray(move)[None]), two.step(np.stack([move] * 2))
        assert_same(one, two, f"in step {step}")
        for name in ("reward", "terminated", "truncated"):
            assert getattr(result, name)[0] == getattr(wanted, name)[0]


def test_observations_are_kept():
    env = GroundingEnv(dataset_options={"scenes": 2})
    seen, _ = env.reset(seed=0)
    kept = {name: values.copy() for name, values in seen.items()}
    env.step(env.action_space.sample())
    for name, values in seen.items():
        np.testing.assert_array_equal(values, kept[name])
    for first, second in itertools.combinations(seen.values(), 2):
        assert not np.shares_memory(first, second)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
def test_a_copy_goes_on_as_the_original(copied):
    env = GroundingEnv(dataset_options={"scenes": 2})
    env.reset(seed=0)
    env.step(np.array([3, 2, 1, 2, 0]))
    other = copied(env)
    np.testing.assert_equal(other.engine.observe(), env.engine.observe())
    for action in ([4, 2, 2, 1, 0], [2, 2, 4, 4, 0]):
        for mine, theirs in zip(env.step(np.array(action)), other.step(np.array(action)), strict=True):
            np.testing.assert_equal(theirs, mine)
    np.testing.assert_equal(other.reset(seed=3), env.reset(seed=3))
