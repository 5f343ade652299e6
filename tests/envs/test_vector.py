"""The batched face against Gymnasium's own vector of single environments, for every sort of option."""

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from vg_gym.envs import GroundingEnv, GroundingVectorEnv
from vg_gym.errors import VGGymError

OPTIONS = [
    {"action": "classic", "reward": "clip", "score": "cosine"},
    {"action": "edges", "reward": "clip+iou", "score": "context", "initial_box": "random"},
    {"action": "continuous", "reward": "clip", "score": "surround", "tokens": True},
    {"action": "multi-edges", "reward": "clip", "score": "contrast", "initial_box": "jitter", "phrases": True},
    {"reward": "iou", "initial_box": "no-op", "observation": "pixels"},
    {"reward": "iou", "glimpse_features": True, "phrases": True},
]
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


def both(n, mode, arguments):
    ours = GroundingVectorEnv(n, autoreset_mode=mode, **arguments)
    reference = SyncVectorEnv([lambda: GroundingEnv(**arguments)] * n, autoreset_mode=mode)
    return ours, reference


def assert_same(ours, reference, what, within=slice(None)):
    """Observations or infos, equal bit for bit: the masks in rows ``within``, the values where the masks say so."""
    assert ours.keys() == reference.keys(), what
    for name in (name for name in reference if name[0] != "_"):
        present = reference.get(f"_{name}", np.ones(len(reference[name]), dtype=bool))
        if f"_{name}" in reference:
            np.testing.assert_array_equal(ours[f"_{name}"][within], present[within], err_msg=f"{what}: _{name}")
        if name == "final_info":
            assert_same(ours[name], reference[name], what, within=present)
        elif name == "final_obs":  # a dict for each row, None where no episode ended
            assert (ours[name] == None).tolist() == (~present).tolist()  # noqa: E711
            for i in np.flatnonzero(present):
                assert_same(ours[name][i], reference[name][i], what)
        else:
            np.testing.assert_array_equal(ours[name][present], reference[name][present], err_msg=f"{what}: {name}")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_batch_is_gymnasium_s_vector_of_singles(mode, options, shapes, tiny_clip):
    n = 7
    ours, reference = both(n, mode, {"dataset": shapes, "clip": tiny_clip, "max_steps": 5, **options})
    assert ours.observation_space == reference.observation_space and ours.action_space == reference.action_space
    seeds = [3 * i + 1 for i in range(n)]
    ours.action_space.seed(0)
    for a, b in zip(ours.reset(seed=seeds), reference.reset(seed=seeds), strict=True):
        assert_same(a, b, "reset")
    ended = 0
    for step in range(25):
        actions = ours.action_space.sample()
        mine, theirs = ours.step(actions), reference.step(actions)
        for a, b in zip(mine[1:4], theirs[1:4], strict=True):
            np.testing.assert_array_equal(a, b.astype(a.dtype), err_msg=f"step {step}")
        assert_same(mine[0], theirs[0], f"step {step}")
        assert_same(mine[4], theirs[4], f"step {step}")
        assert ours.observation_space.contains(mine[0])
        ended += int((mine[2] | mine[3]).sum())
    assert ended > n


def test_crop_scores_agree_along_episodes(shapes, tiny_clip):
    """Crops go through the network together, so here the faces agree to rounding and not to the bit."""
    arguments = {"dataset": shapes, "clip": tiny_clip, "scoring": "crop", "max_steps": 4}
    ours, reference = both(4, AutoresetMode.SAME_STEP, arguments)
    ours.action_space.seed(1)
    ours.reset(seed=2), reference.reset(seed=2)
    for _ in range(8):
        actions = ours.action_space.sample()
        (seen, reward, *ends, _), (same, expected, *same_ends, _) = ours.step(actions), reference.step(actions)
        np.testing.assert_array_equal(ends, same_ends)
        np.testing.assert_allclose(reward, expected, atol=1e-5)
        for name in seen:
            np.testing.assert_allclose(seen[name], same[name], atol=1e-5, err_msg=name)


def test_observations_handed_out_do_not_change_later(shapes, tiny_clip):
    env = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, tokens=True, glimpse_features=True)
    seen, infos = env.reset(seed=0)
    kept = {name: values.copy() for name, values in (seen | infos).items()}
    env.action_space.seed(0)
    for _ in range(3):
        env.step(env.action_space.sample())
    for name, values in (seen | infos).items():
        np.testing.assert_array_equal(values, kept[name], err_msg=name)


def test_without_autoreset_a_mask_says_who_starts_anew(shapes, tiny_clip):
    env = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, autoreset_mode=AutoresetMode.DISABLED, max_steps=2)
    env.reset(seed=0)
    inwards = np.tile([4, 4, 4, 4, 0], (3, 1))
    env.step(inwards)
    *_, truncated, before = env.step(inwards)
    assert truncated.all()
    _, after = env.reset(options={"reset_mask": np.array([True, False, False])})
    np.testing.assert_array_equal(after["box"][0], [0, 0, 1, 1])
    np.testing.assert_array_equal(after["box"][1:], before["box"][1:])
    assert after["key"][1:].tolist() == before["key"][1:].tolist()
    with pytest.raises(VGGymError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(VGGymError, match="reset_mask"):
        env.reset(options={"reset_mask": np.zeros(3, dtype=bool)})


def test_masks_are_those_of_the_singles(shapes, tiny_clip):
    ours, reference = both(
        4, AutoresetMode.NEXT_STEP, {"dataset": shapes, "clip": tiny_clip, "initial_box": "jitter", "min_steps": 1}
    )
    ours.reset(seed=5), reference.reset(seed=5)
    moves = np.array([[2, 2, 2, 2, 0], [4, 2, 2, 2, 0], [0, 0, 0, 0, 0], [0, 2, 2, 0, 0]])
    for _ in range(4):
        ours.step(moves), reference.step(moves)
    masks = ours.action_masks()
    np.testing.assert_array_equal(masks, np.stack(reference.call("action_masks")))
    assert not masks.all() and masks[:, 21].all()


def test_every_environment_has_its_frame(shapes, tiny_clip):
    env = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, render_mode="rgb_array", initial_box="random")
    env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 3 and all(frame.dtype == np.uint8 and frame.ndim == 3 for frame in frames)
    assert not np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_max_episode_steps_is_a_time_limit(mode, shapes, tiny_clip):
    arguments = {"dataset": shapes, "clip": tiny_clip, "max_steps": 5}
    ours = gymnasium.make_vec("RefShapes-Ground-v0", 3, max_episode_steps=2, autoreset_mode=mode, **arguments)
    reference = SyncVectorEnv([lambda: TimeLimit(GroundingEnv(**arguments), 2)] * 3, autoreset_mode=mode)
    ours.reset(seed=1), reference.reset(seed=1)
    ours.action_space.seed(0)
    for step in range(8):
        actions = ours.action_space.sample()
        for a, b in zip(ours.step(actions)[1:4], reference.step(actions)[1:4], strict=True):
            np.testing.assert_array_equal(a, b.astype(a.dtype), err_msg=f"step {step}")
    with pytest.raises(VGGymError, match="max_episode_steps=0"):
        GroundingVectorEnv(2, max_episode_steps=0, **arguments)


def test_environments_survive_pickling_in_the_middle_of_an_episode(shapes, tiny_clip):
    arguments = {"dataset": shapes, "clip": tiny_clip}
    for env in (GroundingEnv(**arguments), GroundingVectorEnv(3, **arguments)):
        env.reset(seed=0)
        env.step(env.action_space.sample())
        copied, action = pickle.loads(pickle.dumps(env)), env.action_space.sample()
        for a, b in zip(env.step(action), copied.step(action), strict=True):
            assert same_values(a, b)
        for a, b in zip(env.reset(), copied.reset(), strict=True):  # the next episode is the same too
            assert same_values(a, b)


def same_values(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_values(a[name], b[name]) for name in a)
    return np.array_equal(a, b)
