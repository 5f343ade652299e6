import itertools
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3

import vg_gym
from vg_gym import boxes as box_ops
from vg_gym.envs import GroundingEnv, GroundingVectorEnv
from vg_gym.errors import VGGymError

OPTIONS = [
    {"action": a, "reward": r} for a, r in itertools.product(("classic", "edges", "multi-edges", "continuous"),
                                                              ("clip", "iou", "clip+iou"))
] + [{"score": s, "scoring": m} for s, m in itertools.product(("cosine", "context", "surround", "contrast"),
                                                               ("dense", "crop"))
] + [{"scoring": "lattice", "lattice": 2}, {"precision": "float16"}
] + [{"initial_box": s} for s in ("full", "center", "random", "jitter")
] + [{"observation": "pixels"}, {"tokens": True}, {"glimpse_features": True}, {"phrases": True, "max_steps": 2},
     {"observation": "pixels", "glimpse_features": True, "phrases": True, "action": "continuous"}]  # fmt: skip


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_checkers_have_nothing_to_say(options, shapes, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, render_mode="rgb_array", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)
        check_sb3(env)


@pytest.mark.parametrize("name", vg_gym.ENVIRONMENTS)
def test_every_id_can_be_made_and_checked(name, tiny_clip, monkeypatch):
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        env = gymnasium.make(name, clip=tiny_clip, render_mode="rgb_array")
        vector = gymnasium.make_vec(name, num_envs=3, clip=tiny_clip)
    fell_back = name != "RefShapes-Ground-v0"
    assert any("vg-gym download" in str(w.message) for w in said) == fell_back
    _, info = env.reset(seed=1)
    assert info["dataset"] == "refshapes"
    assert env.render().dtype == np.uint8
    observations, infos = vector.reset(seed=1)
    assert vector.observation_space.contains(observations) and infos["dataset"].tolist() == ["refshapes"] * 3
    check_env(env.unwrapped, skip_render_check=True)


def test_a_wrong_root_is_an_error_not_a_fallback(tiny_clip):
    with pytest.raises(VGGymError, match="nowhere"):
        gymnasium.make("RefCOCOg-Ground-v0", root="nowhere", clip=tiny_clip)


@pytest.mark.parametrize("action", ["multi-edges", "edges", "continuous"])
def test_seeds_reproduce(action, shapes, tiny_clip):
    def run():
        env = GroundingEnv(dataset=shapes, clip=tiny_clip, action=action, initial_box="random")
        env.action_space.seed(4)
        out = [env.reset(seed=4)]
        for _ in range(30):
            out.append(env.step(env.action_space.sample()))
            if out[-1][2] or out[-1][3]:
                out.append(env.reset())
        return out

    for a, b in zip(run(), run(), strict=True):
        assert same(a[0], b[0]) and str(a[1:]) == str(b[1:])


@pytest.mark.parametrize(
    "options", [{}, {"glimpse_features": True, "phrases": True}, {"initial_box": "jitter"}], ids=str
)
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_vector_is_n_singles_bit_for_bit(mode, options, shapes, tiny_clip):
    n, arguments = 5, {"dataset": shapes, "clip": tiny_clip, "reward": "iou", "max_steps": 4, **options}
    vector = GroundingVectorEnv(n, autoreset_mode=mode, **arguments)
    singles = [GroundingEnv(**arguments) for _ in range(n)]
    vector.action_space.seed(0)
    seen, _ = vector.reset(seed=7)
    own = [env.reset(seed=7 + i) for i, env in enumerate(singles)]
    over = [False] * n
    for _ in range(40):
        for i in range(n):
            assert same({k: v[i] for k, v in seen.items()}, own[i][0])
        actions = vector.action_space.sample()
        seen, rewards, terminated, truncated, infos = vector.step(actions)
        for i, env in enumerate(singles):
            if mode == AutoresetMode.NEXT_STEP and over[i]:
                own[i], over[i] = env.reset(), False
                assert rewards[i] == 0 and not terminated[i] and not truncated[i]
                continue
            observation, reward, end, cut, info = env.step(actions[i])
            assert (rewards[i], terminated[i], truncated[i]) == (np.float32(reward), end, cut)
            over[i] = end or cut
            own[i] = (observation, info)
            if over[i] and mode == AutoresetMode.SAME_STEP:
                final = {k: v[i] for k, v in infos["final_obs"].items()}
                assert same(final, observation) and infos["final_info"]["iou"][i] == info["iou"]
                own[i] = env.reset()


def test_crop_scores_agree_between_faces(shapes, tiny_clip):
    vector = GroundingVectorEnv(4, dataset=shapes, clip=tiny_clip, scoring="crop")
    single = GroundingEnv(dataset=shapes, clip=tiny_clip, scoring="crop")
    seen, _ = vector.reset(seed=0)
    one, _ = single.reset(seed=0)
    np.testing.assert_allclose(seen["region"][0], one["region"], atol=1e-5)


def test_rewards_telescope(shapes, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, reward="iou", step_cost=0.02, trigger_bonus=0.3)
    env.action_space.seed(1)
    for episode in range(12):
        _, start = env.reset(seed=episode)
        total, steps, done = 0.0, 0, False
        while not done:
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            total, steps, done = total + reward, steps + 1, terminated or truncated
        bonus = 0.3 * info["iou"] if terminated else 0.0
        assert total == pytest.approx(info["iou"] - start["iou"] - 0.02 * steps + bonus, abs=1e-5)
        assert info["is_success"] == (info["iou"] >= 0.5)


class Sealed:
    """A data set whose answers can not be read without being caught."""

    name, split = "sealed", "test"

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index].query


def test_without_labels_nothing_reads_an_answer(shapes, blind, tiny_clip):
    labelled = GroundingEnv(dataset=shapes, clip=tiny_clip)
    sealed = GroundingEnv(dataset=Sealed(shapes), clip=tiny_clip)
    for index in range(len(shapes)):
        first, info = labelled.reset(seed=0, options={"index": index})
        second, bare = sealed.reset(seed=0, options={"index": index})
        assert same(first, second) and "iou" in info and "iou" not in bare
        for action in ([0, 2, 4, 1, 0], [4, 4, 4, 4, 0], [2, 2, 2, 2, 1]):
            a, b = labelled.step(np.array(action)), sealed.step(np.array(action))
            assert same(a[0], b[0]) and a[1:4] == b[1:4]
            assert "is_success" not in b[4]


def test_replay_options(shapes, blind, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip)
    _, info = env.reset(options={"index": 3, "initial_box": [0.1, 0.2, 0.5, 0.6]})
    assert info["key"] == shapes[3].query.key
    np.testing.assert_allclose(info["box"], [0.1, 0.2, 0.5, 0.6], atol=1e-6)
    expected = box_ops.iou(info["box"], box_ops.normalize(shapes[3].box, (128, 128)))
    assert info["iou"] == pytest.approx(float(expected))
    _, info = env.reset(options={"query": blind[0]})
    assert info["key"] == blind[0].key and "iou" not in info


def test_a_grounder_can_start_the_box(shapes, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, initial_box="center")
    other = GroundingEnv(dataset=shapes, clip=tiny_clip, initial_box="random")
    assert not np.array_equal(env.reset(seed=0)[1]["box"], other.reset(seed=0)[1]["box"])
    named = GroundingEnv(dataset=shapes, clip=tiny_clip, initial_box="no-op")
    np.testing.assert_array_equal(named.reset(seed=0)[1]["box"], box_ops.FULL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reward": "iou"}, "needs box labels"),
        ({"initial_box": "jitter"}, "bare queries"),
        ({"initial_box": "nothing"}, "unknown grounder 'nothing'"),
        ({"action": "flying"}, "unknown action set 'flying'"),
        ({"score": "cosin"}, "did you mean 'cosine'"),
        ({"scoring": "dens"}, "did you mean 'dense'"),
        ({"observation": "smell"}, "unknown observation"),
        ({"max_step": 3}, "did you mean 'max_steps'"),
        ({"max_steps": 0}, "max_steps=0"),
        ({"max_steps": "many"}, "max_steps"),
        ({"render_mode": "ansi"}, "unknown render mode"),
    ],
)
def test_bad_options_are_named(arguments, message, blind, tiny_clip):
    with pytest.raises(VGGymError, match=message):
        GroundingEnv(dataset=blind, clip=tiny_clip, **arguments).reset()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"idx": 1}, "did you mean 'index'"),
        ({"index": 99}, "index=99"),
        ({"initial_box": [0.5, 0, 0.2, 1]}, "initial_box"),
    ],
)
def test_bad_reset_options_are_named(options, message, shapes, tiny_clip):
    with pytest.raises(VGGymError, match=message):
        GroundingEnv(dataset=shapes, clip=tiny_clip).reset(options=options)


def test_an_empty_expression_is_named(blind, tiny_clip):
    from dataclasses import replace

    env = GroundingEnv(dataset=[replace(blind[0], expression="  ")], clip=tiny_clip)
    with pytest.raises(VGGymError, match="empty expression"):
        env.reset()
    with pytest.raises(VGGymError, match="no queries"):
        GroundingEnv(dataset=[], clip=tiny_clip)


def test_a_very_long_expression_is_read_to_its_limit(blind, tiny_clip):
    from dataclasses import replace

    env = GroundingEnv(dataset=[replace(blind[0], expression="the red " * 150 + "star")], clip=tiny_clip)
    observation, _ = env.reset()
    assert np.isfinite(observation["text"]).all()


def test_render_shows_the_box(shapes, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(np.array([4, 4, 4, 4, 0]))
    after = env.render()
    assert before.shape == after.shape and max(before.shape) >= 512 and not np.array_equal(before, after)


def test_steps_before_reset_are_refused(shapes, tiny_clip):
    env = gymnasium.make("RefShapes-Ground-v0", clip=tiny_clip)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.action_space.sample())
    with pytest.raises(VGGymError, match="reset"):
        GroundingVectorEnv(2, dataset=shapes, clip=tiny_clip).step(np.zeros((2, 5), int))
