import gc
import itertools
import json
import pickle
import shutil
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_checker import check_env as check_sb3

import vg_gym
from tests.data.refcocog_layout import write_refcocog_layout
from vg_gym import boxes as box_ops
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingEnv, GroundingVectorEnv
from vg_gym.envs.episodes import Episodes
from vg_gym.errors import VGGymError
from vg_gym.types import Query

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
    check_env(env, skip_render_check=True)  # what they find they say in warnings, which are errors here
    check_sb3(env)


MAKERS = (gymnasium.make, gymnasium.make_vec)
SMALLER = pytest.mark.filterwarnings("ignore:.*published are:UserWarning")
"""The data set on disk is a small one, and says so."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """A small data set of ours on disk, under the names of RefCOCOg, RefCOCO and RefCOCO+."""
    root = write_refcocog_layout([RefShapes("refshapes", "train", scenes=2)], tmp_path_factory.mktemp("layout"))
    shutil.copy(root / "annotations" / "refs(umd).p", root / "annotations" / "refs(unc).p")
    refs = [{**ref, "ann_id": [ref["ann_id"]]} for ref in pickle.loads((root / "annotations/refs(umd).p").read_bytes())]
    (root / "annotations" / "grefs(unc).json").write_text(json.dumps(refs))
    return root


@pytest.fixture(params=vg_gym.ENVIRONMENTS)
def registered(request, layout, tiny_clip):
    """The id of an environment, and ``make`` and ``make_vec`` of it on its own data set."""
    drawn = vg_gym.ENVIRONMENTS[request.param] in vg_gym.DRAWN
    own = {"dataset_options": {"scenes": 2}} if drawn else {"root": str(layout)}
    return request.param, *(partial(make, request.param, clip=tiny_clip, **own) for make in MAKERS)


@SMALLER
def test_every_id_plays_its_data_set(registered):
    name, make, make_vec = registered
    env, vector = make(render_mode="rgb_array"), make_vec(num_envs=3)
    _, info = env.reset(seed=1)
    observations, infos = vector.reset(seed=1)
    assert info["dataset"] == vg_gym.ENVIRONMENTS[name] and set(infos["dataset"]) == {info["dataset"]}
    assert env.render().dtype == np.uint8 and "iou" in info
    assert vector.observation_space.contains(observations)


@SMALLER
def test_every_id_passes_the_checkers(registered):
    _, make, _ = registered
    env = make(render_mode="rgb_array").unwrapped
    check_env(env, skip_render_check=True)
    check_sb3(env)


@SMALLER
def test_every_id_is_deterministic(registered):
    _, make, _ = registered
    for a, b in zip(walked(make(initial_box="random")), walked(make(initial_box="random")), strict=True):
        assert same(a[0], b[0]) and str(a[1:]) == str(b[1:])


@SMALLER
def test_every_id_is_the_same_in_a_vector(registered):
    _, make, make_vec = registered
    one, (seen, infos) = make().reset(seed=6), make_vec(num_envs=2).reset(seed=5)
    assert same(one[0], {name: values[1] for name, values in seen.items()}) and infos["key"][1] == one[1]["key"]


@pytest.mark.parametrize("name", vg_gym.ENVIRONMENTS)
def test_without_files_an_id_falls_back_and_says_so(name, tiny_clip, monkeypatch):
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    data = vg_gym.ENVIRONMENTS[name]
    fell_back = data not in vg_gym.DRAWN
    with pytest.warns(UserWarning, match="runs on the built-in .*give root=DIR") if fell_back else nullcontext():
        env = gymnasium.make(name, clip=tiny_clip)
    built_in = "refshapes-any" if "Any" in name else "refshapes"
    assert env.reset(seed=1)[1]["dataset"] == (built_in if fell_back else data)


def test_a_wrong_root_is_an_error_not_a_fallback(tiny_clip):
    with pytest.raises(VGGymError, match="nowhere"):
        gymnasium.make("RefCOCOg-Ground-v0", root="nowhere", clip=tiny_clip)


def walked(env, seed=4):
    """What an environment gives over thirty random steps."""
    env.action_space.seed(seed)
    out = [env.reset(seed=seed)]
    for _ in range(30):
        out.append(env.step(env.action_space.sample()))
        if out[-1][2] or out[-1][3]:
            out.append(env.reset())
    return out


@pytest.mark.parametrize("action", ["edges", "continuous"])
def test_seeds_reproduce(action, shapes, tiny_clip):
    envs = [GroundingEnv(dataset=shapes, clip=tiny_clip, action=action, initial_box="jitter") for _ in range(2)]
    for a, b in zip(*map(walked, envs), strict=True):
        assert same(a[0], b[0]) and str(a[1:]) == str(b[1:])


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


class SealedQuery(Query):
    """A query that fails a test which asks it for more than its image, expression and key."""

    def __getattr__(self, name):
        raise AssertionError(f"the answer was asked for: {name}")


class Sealed:
    """A data set of sealed queries, sealed itself."""

    name, split = "sealed", "test"

    def __init__(self, samples):
        self.queries = [SealedQuery(s.query.image, s.query.expression, s.query.key) for s in samples]

    def __len__(self):
        return len(self.queries)

    def __getitem__(self, index):
        return self.queries[index]

    def __getattr__(self, name):
        raise AssertionError(f"the answer was asked for: {name}")


MOVES = ([0, 2, 4, 1, 0], [4, 4, 4, 4, 0], [2, 2, 2, 2, 1])


def test_without_labels_nothing_reads_an_answer(shapes, tiny_clip):
    labeled = GroundingEnv(dataset=shapes, clip=tiny_clip)
    sealed = GroundingEnv(dataset=Sealed(shapes), clip=tiny_clip)
    for index in range(len(shapes)):
        first, info = labeled.reset(seed=0, options={"index": index})
        second, bare = sealed.reset(seed=0, options={"index": index})
        assert same(first, second) and "iou" in info and "iou" not in bare
        for action in MOVES:
            a, b = labeled.step(np.array(action)), sealed.step(np.array(action))
            assert same(a[0], b[0]) and a[1:4] == b[1:4]
            assert "is_success" not in b[4]


@pytest.mark.parametrize("leak", [lambda self, item: item.box, lambda self, item: self.items.objects(0)])
def test_a_leak_of_the_answer_would_be_seen(leak, shapes, tiny_clip, monkeypatch):
    monkeypatch.setattr(Episodes, "target_of", leak)
    with pytest.raises(AssertionError, match="the answer was asked for: (box|objects)"):
        GroundingEnv(dataset=Sealed(shapes), clip=tiny_clip).reset(seed=0)


def test_with_a_clip_reward_boxes_decide_nothing(shapes, tiny_clip):
    """Labels that are wrong change ``info["iou"]`` and nothing else."""
    wrong = [replace(sample, box=sample.box[[0, 1, 0, 1]] + np.float32([0, 0, 3, 5])) for sample in shapes]
    right, other = (GroundingEnv(dataset=data, clip=tiny_clip, reward="clip") for data in (list(shapes), wrong))
    ious = []
    for a, b in zip(walked(right), walked(other), strict=True):
        assert same(a[0], b[0]) and a[1:-1] == b[1:-1]
        ious.append((a[-1]["iou"], b[-1]["iou"]))
        assert all(a[-1][k] == b[-1][k] for k in ("clip_score", "key"))
    assert any(mine != theirs for mine, theirs in ious)


def test_replay_options(shapes, blind, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip)
    _, info = env.reset(options={"index": 3, "initial_box": [0.1, 0.2, 0.5, 0.6]})
    assert info["key"] == shapes[3].query.key
    np.testing.assert_allclose(info["box"], [0.1, 0.2, 0.5, 0.6], atol=1e-6)
    expected = box_ops.iou(info["box"], box_ops.normalize(shapes[3].box, (128, 128)))
    assert info["iou"] == pytest.approx(float(expected))
    _, info = env.reset(options={"query": blind[0]})
    assert info["key"] == blind[0].key and "iou" not in info


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
        ({"max_steps": 0}, "'max_steps' is 0; it must be a whole number at least 1"),
        ({"step_cost": float("nan")}, "'step_cost' is nan; it must be a finite number at least 0"),
        ({"max_steps": "many"}, "max_steps"),
        ({"render_mode": "depth"}, "unknown render mode"),
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
    env = GroundingEnv(dataset=[replace(blind[0], expression="  ")], clip=tiny_clip)
    with pytest.raises(VGGymError, match="empty expression"):
        env.reset()
    with pytest.raises(VGGymError, match="no queries"):
        GroundingEnv(dataset=[], clip=tiny_clip)


def test_a_very_long_expression_is_read_to_its_limit(blind, tiny_clip):
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
    bare = GroundingEnv(dataset=shapes, clip=tiny_clip, render_mode="rgb_array")
    for use in (lambda: bare.step(bare.action_space.sample()), lambda: bare.place([0, 0, 1, 1]), bare.action_masks,
                bare.render):  # fmt: skip
        with pytest.raises(VGGymError, match=r"reset\(\)"):
            use()


@pytest.mark.parametrize("ending", ["trigger", "steps"])
def test_a_step_after_the_end_warns_and_pays_nothing(shapes, tiny_clip, ending):
    env = gymnasium.make("RefShapes-Ground-v0", dataset=shapes, clip=tiny_clip, reward="iou", min_steps=1, max_steps=2)
    env.reset(seed=0)
    actions = env.unwrapped.engine.actions
    played = [
        env.step(actions.trigger if ending == "trigger" else actions.noop) for _ in range(1 + (ending == "steps"))
    ]
    seen, _, *end, info = played[-1]
    assert end == [ending == "trigger", ending == "steps"]
    for use in (lambda: env.step(actions.trigger), lambda: env.unwrapped.place(np.array([0.1, 0.1, 0.5, 0.5]))):
        with pytest.warns(UserWarning, match=r"after the end of an episode.*call reset\(\)"):
            again, reward, *same_end, same_info = use()
        assert reward == 0.0 and same_end == end and same(seen, again)
        np.testing.assert_array_equal(same_info["box"], info["box"])
    assert env.unwrapped.engine.steps[0] == len(played)
    env.reset(seed=0)
    assert env.step(actions.trigger)[2]


@pytest.mark.parametrize(
    "limit", [{"max_episode_steps": 5}, {"max_steps": 5}, {"max_episode_steps": 5, "max_steps": 7}]
)
def test_the_trigger_counts_in_the_last_step_at_the_latest(shapes, tiny_clip, limit):
    arguments = {"dataset": shapes, "clip": tiny_clip, "reward": "iou", **limit}
    env = RecordEpisodeStatistics(gymnasium.make("RefShapes-Ground-v0", **arguments))
    trigger = env.unwrapped.engine.actions.trigger
    for _ in range(2):
        env.reset(seed=0)
        assert not env.unwrapped.action_masks()[env.unwrapped.engine.actions.trigger_column]
        assert [env.step(trigger)[2] for _ in range(5)] == [False] * 4 + [True]
    envs = gymnasium.make_vec("RefShapes-Ground-v0", 2, **arguments)
    envs.reset(seed=0)
    assert [envs.step(np.stack([trigger] * 2))[2].all() for _ in range(5)] == [False] * 4 + [True]
    bare = env.unwrapped  # without the limit around it
    bare.reset(seed=0)
    assert [bare.step(trigger)[2] for _ in range(5)] == [False] * 4 + [limit == {"max_steps": 5}]


def test_the_trigger_counts_from_min_steps_on(shapes, tiny_clip):
    env = gymnasium.make("RefShapes-Ground-v0", dataset=shapes, clip=tiny_clip, min_steps=3, max_steps=5).unwrapped
    env.reset(seed=0)
    box, trigger = env.engine.boxes.copy(), env.engine.actions.trigger_column
    for early in (True, True, False):
        assert env.action_masks()[trigger] == (not early)
        _, reward, terminated, truncated, _ = env.step(env.engine.actions.trigger)
        assert terminated is (not early) and not truncated
        assert reward == pytest.approx(-0.01 + (not early) * 0.1 * float(env.engine.potential[0]), abs=1e-6)
        np.testing.assert_array_equal(env.engine.boxes, box)
    with pytest.raises(VGGymError, match="'min_steps' is -1"):
        gymnasium.make("RefShapes-Ground-v0", dataset=shapes, clip=tiny_clip, min_steps=-1)


def test_an_unknown_option_is_a_type_error_too(shapes, tiny_clip):
    """As libraries expect that probe for options, such as TorchRL for ``frameskip=``."""
    with pytest.raises(TypeError, match="unknown option 'frameskip'"):
        gymnasium.make("RefShapes-Ground-v0", dataset=shapes, clip=tiny_clip, frameskip=1)


BAD_ACTIONS = {
    "classic": [np.array([1, 2]), [[1]], 1.0, None, "x", np.array([1]), True, 9, -1],
    "multi-edges": [np.array([1, 2]), 3, np.zeros((2, 5), int), np.full(5, 9), np.zeros(5), None],
    "continuous": [np.zeros(4), np.zeros((1, 5)), np.full(5, np.nan), np.full(5, 2), "abcde"],
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_a_refused_action_changes_nothing(shapes, tiny_clip, name):
    env, twin = (GroundingEnv(dataset=shapes, clip=tiny_clip, action=name) for _ in range(2))
    env.reset(seed=1), twin.reset(seed=1)
    twin.action_space.seed(0)
    for bad in BAD_ACTIONS[name]:
        with pytest.raises(VGGymError, match="action"):
            env.step(bad)
        action = twin.action_space.sample()
        ours, theirs = env.step(action), twin.step(action)
        for part in ours[0]:
            np.testing.assert_array_equal(ours[0][part], theirs[0][part])
        if ours[2] or ours[3]:
            env.reset(), twin.reset()


def test_a_vector_wants_one_action_a_row(shapes, tiny_clip):
    envs = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip)
    envs.reset(seed=0)
    for bad in (np.zeros((2, 5), int), np.zeros((4, 5), int), np.zeros(5, int), 0):
        with pytest.raises(VGGymError, match="3 of Multi"):
            envs.step(bad)
    assert (envs.engine.steps == 0).all()


@pytest.mark.parametrize(
    "options", [{"index": 1.5}, {"index": "1"}, {"index": True}, {"query": 3}, {"initial_box": "full"}]
)
def test_reset_options_are_not_guessed(shapes, tiny_clip, options):
    with pytest.raises(VGGymError, match=next(iter(options))):
        GroundingEnv(dataset=shapes, clip=tiny_clip).reset(options=options)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc to count open files in")
@pytest.mark.parametrize("make", [gymnasium.make, partial(gymnasium.make_vec, num_envs=2)])
def test_a_closed_environment_leaves_no_file_open(make, tiny_clip):
    def play():
        env = make("RefShapes-Ground-v0", clip=tiny_clip, dataset_options={"scenes": 2}, cache=True)
        env.reset(seed=0)
        env.close()
        return len(list(Path("/proc/self/fd").iterdir())), env

    first, one = play()
    gc.disable()
    try:
        assert [play()[0] for _ in range(4)] == [first] * 4
    finally:
        gc.enable()
    one.reset(seed=0)  # and it can be played again
    one.close()
