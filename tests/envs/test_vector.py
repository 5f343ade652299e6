"""The batched face against Gymnasium's own vector of single environments, for every sort of option."""

import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from vg_gym.envs import GroundingEnv, GroundingTensorEnv, GroundingVectorEnv
from vg_gym.errors import VGGymError

OPTIONS = [
    {"action": "classic", "reward": "clip", "score": "cosine"},
    {"action": "edges", "reward": "clip+iou", "score": "context", "initial_box": "random"},
    {"action": "continuous", "reward": "clip", "score": "surround", "tokens": True},
    {"action": "multi-edges", "reward": "clip", "score": "contrast", "initial_box": "jitter", "phrases": True},
    {"reward": "iou", "initial_box": "no-op", "observation": "pixels"},
    {"reward": "iou", "glimpse_features": True, "phrases": True},
]
MODES = [*AutoresetMode]


def both(n, mode, arguments):
    ours = GroundingVectorEnv(n, autoreset_mode=mode, **arguments)
    reference = SyncVectorEnv([lambda: GroundingEnv(**arguments)] * n, autoreset_mode=mode)
    return ours, reference


def assert_same(ours, reference, what):
    """Observations or infos, equal bit for bit with their types, those of rows that a mask leaves out included."""
    assert ours.keys() == reference.keys(), what
    for name, values in reference.items():
        if name == "final_info":
            assert_same(ours[name], values, what)
        elif name == "final_obs":  # a dict for each row, None where no episode ended
            for mine, theirs in zip(ours[name], values, strict=True):
                assert (mine is None) == (theirs is None), what
                assert theirs is None or assert_same(mine, theirs, what) is None
        else:
            np.testing.assert_array_equal(ours[name], values, err_msg=f"{what}: {name}")
            assert ours[name].dtype == values.dtype, f"{what}: {name}"


def assert_same_steps(ours, reference, steps):
    """Random actions in both; without autoreset, rows that ended are reset in both. Returns how many episodes ended."""
    ended = 0
    for step in range(steps):
        actions = ours.action_space.sample()
        mine, theirs = ours.step(actions), reference.step(actions)
        for a, b in zip(mine[1:4], theirs[1:4], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"step {step}")
            assert a.dtype == b.dtype
        assert_same(mine[0], theirs[0], f"step {step}")
        assert_same(mine[4], theirs[4], f"infos of step {step}")
        assert ours.observation_space.contains(mine[0])
        done = mine[2] | mine[3]
        ended += int(done.sum())
        if ours.autoreset_mode == AutoresetMode.DISABLED and done.any():
            seeds = ([None, 100 + step] * 4)[: len(done)]
            mine, theirs = (e.reset(seed=seeds, options={"reset_mask": done}) for e in (ours, reference))
            assert_same(mine[0], theirs[0], f"reset after step {step}")
            assert_same(mine[1], theirs[1], f"infos of the reset after step {step}")
    return ended


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_batch_is_gymnasium_s_vector_of_singles(mode, options, shapes, tiny_clip):
    n = 7
    ours, reference = both(n, mode, {"dataset": shapes, "clip": tiny_clip, "max_steps": 5, **options})
    assert ours.observation_space == reference.observation_space and ours.action_space == reference.action_space
    assert ours.metadata["autoreset_mode"] == reference.metadata["autoreset_mode"]
    seeds = [3 * i + 1 for i in range(n)]
    ours.action_space.seed(0)
    for a, b in zip(ours.reset(seed=seeds), reference.reset(seed=seeds), strict=True):
        assert_same(a, b, "reset")
    assert assert_same_steps(ours, reference, 25) > n


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_reset_of_some_rows_in_the_middle_is_that_of_the_singles(mode, shapes, tiny_clip):
    ours, reference = both(3, mode, {"dataset": shapes, "clip": tiny_clip, "max_steps": 3, "min_steps": 1})
    ours.action_space.seed(0)
    ours.reset(seed=4), reference.reset(seed=4)
    for mask, seed in (([True, False, True], None), ([False, True, False], 9), ([True, True, True], [3, None, 5])):
        assert_same_steps(ours, reference, 2 if mode != AutoresetMode.DISABLED else 1)
        options = [{"reset_mask": np.array(mask), "initial_box": [0.1, 0.2, 0.7, 0.8]} for _ in range(2)]
        for a, b in zip(ours.reset(seed=seed, options=options[0]), reference.reset(seed=seed, options=options[1]),
                        strict=True):  # fmt: skip
            assert_same(a, b, f"reset of {mask}")
    assert_same_steps(ours, reference, 6)


@pytest.mark.parametrize("seed", [
    np.int64(0), np.uint8(3), np.array(4), [1, 2, 3], (1, None, 3), np.array([5, 6, 7], np.uint32),
    [np.int32(1), 2, None], 2**70,
], ids=repr)  # fmt: skip
def test_seeds_of_every_integer_type_are_those_of_plain_integers(seed, shapes, tiny_clip):
    arguments = {"dataset": shapes, "clip": tiny_clip, "initial_box": "random"}
    envs = GroundingVectorEnv(3, **arguments)
    _, infos = envs.reset(seed=seed)
    plain = np.asarray(seed, dtype=object).tolist()
    plain = plain if isinstance(plain, list) else [plain + i for i in range(3)]
    for row, one in enumerate(plain):
        if one is not None:
            _, info = GroundingEnv(**arguments).reset(seed=one)
            assert info["key"] == infos["key"][row]
            np.testing.assert_array_equal(info["box"], infos["box"][row])
    tensors = GroundingTensorEnv(3, **arguments)
    boxes = tensors.reset(seed=seed)["box"][:, :4].numpy()
    known = [row for row, one in enumerate(plain) if one is not None]
    np.testing.assert_array_equal(boxes[known], infos["box"][known])


@pytest.mark.parametrize("seed", [
    [], (), [1], [1, 2, 3, 4], np.zeros(0, int), np.zeros((3, 1), int), -1, [0, 1, -1], 1.0, [1, 2.5, 3], True,
    "1", b"123", [1, 2, "3"], np.float64(1), np.array([1.0, 2, 3]), {1, 2, 3}, {0: 1}, [[1], [2], [3]],
], ids=repr)  # fmt: skip
def test_other_seeds_are_refused_and_none_is_ignored(seed, shapes, tiny_clip):
    for make in (GroundingVectorEnv, GroundingTensorEnv):
        envs = make(3, dataset=shapes, clip=tiny_clip)
        with pytest.raises(VGGymError, match="seed=") as caught:
            envs.reset(seed=seed)
        assert isinstance(caught.value, ValueError)
    if not isinstance(seed, (list, tuple)):
        with pytest.raises(VGGymError, match="seed="):
            GroundingEnv(dataset=shapes, clip=tiny_clip).reset(seed=seed)


def test_a_tensor_environment_without_a_seed_goes_on(shapes, tiny_clip):
    envs = [GroundingTensorEnv(2, dataset=shapes, clip=tiny_clip, initial_box="random") for _ in range(2)]
    first, second = (env.reset(seed=0)["box"] for env in envs)
    assert (first == second).all()
    again, same = (env.reset()["box"] for env in envs)
    assert (again == same).all() and not (again == first).all()  # the stream goes on, and is no other each time
    fresh = [
        GroundingTensorEnv(2, dataset=shapes, clip=tiny_clip, initial_box="random").reset()["box"] for _ in range(2)
    ]
    assert not (fresh[0] == fresh[1]).all()


def test_without_autoreset_a_step_after_the_end_is_an_error(shapes, tiny_clip):
    arguments = {"dataset": shapes, "clip": tiny_clip, "reward": "iou", "min_steps": 1, "trigger_bonus": 0.9}
    envs = GroundingVectorEnv(2, autoreset_mode="Disabled", **arguments)
    envs.reset(seed=0)
    actions = np.stack([envs.engine.actions.trigger, envs.engine.actions.noop])
    assert envs.step(actions)[2].tolist() == [True, False]
    boxes, steps = envs.engine.boxes.copy(), envs.engine.steps.copy()
    for _ in range(2):
        with pytest.raises(VGGymError, match=r"rows \[0\] have ended.*reset_mask"):
            envs.step(actions)
    with pytest.raises(VGGymError, match=r"rows \[0\] have ended"):
        envs.reset(options={"reset_mask": np.array([False, True])})
        envs.step(actions)
    np.testing.assert_array_equal(envs.engine.boxes, boxes)
    assert steps.tolist() == [1, 1]
    envs.reset(options={"reset_mask": np.array([True, False])})
    assert envs.step(actions)[2].tolist() == [True, False]
    envs.reset()
    assert not envs.step(actions[[1, 1]])[2].any()


@pytest.mark.parametrize("mask", [
    [0, 1, 1], np.array([1, 0, 1]), np.array([0, 2]), [True, False], np.ones((3, 1), bool), np.zeros(3, bool), "yes",
    None,
    np.array([1.0, 0, 0]), [],
], ids=repr)  # fmt: skip
def test_a_mask_is_one_boolean_for_each_row(mask, shapes, tiny_clip):
    envs = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip)
    _, before = envs.reset(seed=0)
    with pytest.raises(VGGymError, match="reset_mask.*3 booleans"):
        envs.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(envs.engine.boxes, before["box"])


def test_nothing_is_played_before_the_first_reset(shapes, tiny_clip):
    envs = GroundingVectorEnv(2, dataset=shapes, clip=tiny_clip, render_mode="rgb_array")
    for use in (lambda: envs.step(envs.action_space.sample()), envs.render, envs.action_masks):
        with pytest.raises(VGGymError, match=r"before reset\(\)"):
            use()
    with pytest.raises(VGGymError, match="the first reset"):
        envs.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(VGGymError, match=r"before reset\(\)"):
        envs.step(envs.action_space.sample())


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
    assert assert_same_steps(ours, reference, 8) > 3
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
