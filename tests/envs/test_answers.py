import itertools
from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_sb3

from tests.envs.test_vector import MODES, assert_same, assert_same_steps, both
from vg_gym import boxes as box_ops
from vg_gym.agents.oracle import oracle_actions
from vg_gym.boxes import pixel_iou
from vg_gym.data.drawing import RECORDED
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingEnv, GroundingTensorEnv, GroundingVectorEnv
from vg_gym.envs.answers import matched
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.keyboard import keys_to_action
from vg_gym.errors import VGGymError
from vg_gym.evaluation.set_metrics import set_f1
from vg_gym.language_models.text_env import TextGroundingEnv, read_action, say_action

SETS = ("classic", "edges", "multi-edges", "fine-edges")
BOXES = np.float32([[10, 10, 50, 40], [60, 64, 110, 120], [70, 8, 120, 44]])
"""Boxes of samples in pixels."""
SHARP = {"max_steps": 6, "min_steps": 1, "step_cost": 0.0, "trigger_bonus": 0.0}


@pytest.fixture(scope="module")
def sets(shapes):
    """Samples with no box, one, three, fifty, and the same box three times."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 100, (50, 2))
    fifty = np.concatenate([low, low + rng.uniform(5, 28, (50, 2))], axis=1).astype(np.float32)
    choices = [BOXES[:0], BOXES[:1], BOXES, fifty, BOXES[[0, 0, 0]]]
    return [replace(shapes[i], boxes=boxes, box=None) for i, boxes in enumerate(choices)]


def at(env, index, box=None):
    options = {"index": index}
    if box is not None:
        options["initial_box"] = (box / 128).tolist()
    return env.reset(seed=0, options=options)


def soft_f1(answer, targets):
    """Independent computation: all pairs in a list, best first."""
    if not len(answer) and not len(targets):
        return 1.0
    pairs = sorted((-float(pixel_iou(a, b)), i, j) for i, a in enumerate(answer) for j, b in enumerate(targets))
    used_a, used_b, total = set(), set(), 0.0
    for value, i, j in pairs:
        if i not in used_a and j not in used_b:
            used_a.add(i)
            used_b.add(j)
            total -= value
    return 2 * total / (len(answer) + len(targets))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 50))
def test_matching_equals_a_list_of_pairs(seed, count, targets):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 8, (2, 50, 2))
    boxes, true = np.concatenate([low, low + rng.integers(1, 6, (2, 50, 2))], axis=2).astype(float)  # many duplicates
    boxes, true = boxes[:count], true[:targets]
    total, hits = matched(pixel_iou(boxes[:, None], true[None])[None])
    assert 2 * total[0] / (count + targets) == pytest.approx(soft_f1(boxes, true), abs=1e-6)
    assert 2 * hits[0] / (count + targets) == pytest.approx(set_f1(boxes, true))


@pytest.mark.parametrize("action", SETS)
def test_with_one_target_and_old_actions_the_reward_is_that_of_one(action, shapes, tiny_clip):
    one, several = (
        GroundingEnv(dataset=shapes, clip=tiny_clip, reward="iou", action=action, min_steps=3, targets=targets)
        for targets in ("one", "any")
    )
    choice = one.action_space
    choice.seed(1)
    for index in range(len(shapes)):
        assert at(one, index)[1]["iou"] == at(several, index)[1]["iou"]
        done = False
        while not done:
            act = choice.sample()
            first, second = one.step(act), several.step(act)
            assert first[1:4] == second[1:4]
            assert first[4]["iou"] == second[4]["iou"]
            assert all(np.array_equal(first[0][name], second[0][name]) for name in first[0] if name != "history")
            done = first[2] or first[3]


@pytest.mark.parametrize("action", SETS)
def test_a_whole_set_of_three(action, sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", action=action, **SHARP)
    act, total = env.engine.actions, 0.0
    at(env, 2, BOXES[0])
    start = float(env.engine.potential[0])
    assert start == pytest.approx(2 / 4)
    for box, said in zip(BOXES, (act.record, act.record, act.trigger), strict=True):
        env.engine.boxes[0] = box / 128
        env.engine._measure(None)
        before = float(env.engine.potential[0])
        _, reward, terminated, _, info = env.step(said)
        total += reward + before  # the box was moved by hand
    assert terminated and info["set_f1"] == 1 and info["is_success"] and info["num_boxes"] == 3
    np.testing.assert_allclose(info["boxes"][:3] * 128, BOXES, atol=1e-4)
    assert not info["boxes"][3:].any() and float(env.engine.potential[0]) == pytest.approx(1)


def test_after_a_record_play_goes_on_from_the_start(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, targets="any", reward="iou", **SHARP)
    _, info = at(env, 2, BOXES[1])
    start = info["box"]
    env.step(np.array([0, 1, 2, 3, 0]))
    observation, *_, info = env.step(env.engine.actions.record)
    np.testing.assert_array_equal(info["box"], start)
    assert observation["answer"][0] == 1 / 8 and info["num_boxes"] == 1


PRICES = {"false_nothing_price": 0.3, "false_box_price": 0.2}


@pytest.mark.parametrize(
    ("index", "said", "reward"),
    [
        (0, "nothing", 0.0),  # right: the potential stays 1
        (0, "trigger", -1.0),
        (0, "record", -1.2),
        (1, "nothing", -1.0 - 0.3),
        (1, "trigger", 0.0),
        (2, "nothing", -0.5 - 0.3),
    ],
)
def test_prices_of_answers(index, said, reward, sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", **{**SHARP, **PRICES})
    at(env, index, BOXES[0])
    _, paid, terminated, _, info = env.step(getattr(env.engine.actions, said))
    assert paid == pytest.approx(reward, abs=1e-6) and terminated == (said != "record")
    answer = [] if said == "nothing" else BOXES[:1]
    assert info["set_f1"] == pytest.approx(set_f1(np.array(answer), sets[index].boxes))


def test_a_second_record_of_the_same_place_costs(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", **{**SHARP, **PRICES})
    at(env, 1, BOXES[0])
    record = env.engine.actions.record
    assert env.step(record)[1] == pytest.approx(0)
    assert env.step(record)[1] == pytest.approx(2 / 3 - 1 - 0.2)


def test_the_bonus_is_paid_for_the_final_answer(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", **{**SHARP, "trigger_bonus": 0.5})
    at(env, 0, BOXES[0])
    assert env.step(env.engine.actions.nothing)[1] == pytest.approx(0.5)
    at(env, 1, BOXES[0])
    assert env.step(env.engine.actions.trigger)[1] == pytest.approx(0.5)


@pytest.mark.parametrize(("records", "boxes"), [(0, 1), (2, 2)])
def test_truncation_answers_with_what_was_recorded_or_the_box(records, boxes, sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", **{**SHARP, "max_steps": 3})
    at(env, 2, BOXES[0])
    said = [env.engine.actions.record] * records + [env.engine.actions.noop] * (3 - records)
    *_, terminated, truncated, info = [env.step(act) for act in said][-1]
    assert truncated and not terminated and info["num_boxes"] == boxes
    assert float(env.engine.potential[0]) == pytest.approx(soft_f1(info["boxes"][:boxes] * 128, BOXES), abs=1e-5)


def test_an_early_end_changes_nothing(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", min_steps=2)
    at(env, 1, BOXES[0])
    columns = env.engine.actions.answer_columns
    assert env.action_masks()[list(columns)].tolist() == [True, False]
    _, reward, terminated, _, info = env.step(env.engine.actions.nothing)
    assert not terminated and reward == pytest.approx(-0.01) and info["num_boxes"] == 0
    assert env.action_masks()[list(columns)].tolist() == [True, True]
    assert env.step(env.engine.actions.nothing)[2]


def test_records_beyond_the_room_are_masked_and_do_nothing(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, reward="iou", targets="any", max_steps=40, min_steps=1)
    at(env, 3)
    for _ in range(35):
        env.step(env.engine.actions.record)
    assert env.engine.answers.capacity == 32 and not env.action_masks()[env.engine.actions.answer_columns[0]]
    assert env.step(env.engine.actions.record)[4]["num_boxes"] == 32


@pytest.mark.parametrize("reward", ["clip", "iou", "clip+iou"])
def test_random_episodes_pay_the_change_of_the_potential(reward, sets, tiny_clip):
    env = GroundingEnv(
        dataset=sets, clip=tiny_clip, reward=reward, targets="any", action="edges", **{**SHARP, "max_steps": 12}
    )
    env.action_space.seed(0)
    rng = np.random.default_rng(0)
    for index in [*range(5)] * 4:
        at(env, index)
        total, start, prices, done = 0.0, float(env.engine.potential[0]), 0.0, False
        while not done:
            actions = env.engine.actions
            act = actions.record if rng.random() < 0.3 else env.action_space.sample()
            before = env.engine.recorded_boxes(0)
            if act == actions.record and reward != "clip":
                box = to_pixels(env.engine.boxes[0])
                repeats = any(pixel_iou(box, to_pixels(old)) >= 0.5 for old in before)
                misses = all(pixel_iou(box, true) < 0.5 for true in sets[index].boxes)
                prices += 0.1 * (repeats or misses)
            _, paid, terminated, truncated, info = env.step(act)
            total, done = total + paid, terminated or truncated
        boxes, targets = to_pixels(info["boxes"][: info["num_boxes"]]), sets[index].boxes
        prices += 0.2 * (reward != "clip" and len(boxes) == 0 and len(targets) > 0)
        assert total == pytest.approx(float(env.engine.potential[0]) - start - prices, abs=1e-4)
        assert info["set_f1"] == pytest.approx(set_f1(boxes, targets), abs=1e-6)
        if reward == "iou":
            assert float(env.engine.potential[0]) == pytest.approx(soft_f1(boxes, targets), abs=1e-5)


def to_pixels(boxes):
    return box_ops.pixels(np.asarray(boxes), np.full(4, 128.0))


def test_with_a_clip_reward_labels_decide_nothing(sets, tiny_clip):
    other = [replace(sample, boxes=BOXES[1:2] + 1, box=None) for sample in sets]
    envs = [GroundingEnv(dataset=data, clip=tiny_clip, targets="any", score="contrast") for data in (sets, other)]
    envs[0].action_space.seed(3)
    for index in range(5):
        for env in envs:
            at(env, index)
        done = False
        while not done:
            act = envs[0].action_space.sample()
            first, second = (env.step(act) for env in envs)
            assert all(np.array_equal(first[0][name], second[0][name]) for name in first[0])
            assert first[1:4] == second[1:4]
            done = first[2] or first[3]


def test_a_box_is_worth_its_score_above_that_of_nothing(shapes, tiny_clip):
    env = GroundingEnv(dataset=shapes, clip=tiny_clip, targets="any", nothing_score=0.25, **SHARP)
    _, info = at(env, 0, BOXES[0])
    record, score = env.engine.actions.record, info["clip_score"]
    env.step(record)
    assert float(env.engine.answers.worth[0]) == pytest.approx(score - 0.25, abs=1e-6)
    env.step(record)
    assert float(env.engine.answers.worth[0]) == pytest.approx(score - 0.25 - 0.1, abs=1e-6)
    env.step(env.engine.actions.nothing)
    assert float(env.engine.potential[0]) == pytest.approx(score - 0.35, abs=1e-6)


OPTIONS = [{"action": a, "reward": r} for a, r in itertools.product(("edges", "multi-edges"), ("clip", "iou"))] + [
    {"precision": "float16"}, {"initial_box": "jitter", "reward": "iou"}, {"observation": "pixels"}
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_checkers_have_nothing_to_say(options, sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, render_mode="rgb_array", targets="any", **options)
    check_env(env, skip_render_check=True)
    check_sb3(env)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_vector_environment_equals_single_ones(mode, sets, tiny_clip):
    arguments = {"dataset": sets, "clip": tiny_clip, "targets": "any", "reward": "iou", "min_steps": 1, "max_steps": 5}
    vector, singles = both(4, mode, arguments)
    vector.action_space.seed(0)
    for mine, theirs in zip(vector.reset(seed=5), singles.reset(seed=5), strict=True):
        assert_same(mine, theirs, "reset")
    assert assert_same_steps(vector, singles, 40) > 8


def test_tensors_equal_arrays(sets, tiny_clip):
    import torch

    arguments = {"dataset": sets, "clip": tiny_clip, "targets": "any", "reward": "iou", "min_steps": 1, "max_steps": 5}
    tensors = GroundingTensorEnv(4, **arguments)
    vector = GroundingVectorEnv(4, autoreset_mode="SameStep", **arguments)
    vector.action_space.seed(1)
    tensors.reset(seed=2), vector.reset(seed=2)
    for _ in range(40):
        actions = vector.action_space.sample()
        first, second = tensors.step(torch.from_numpy(actions)), vector.step(actions)
        for name, values in second[0].items():
            np.testing.assert_allclose(first[0][name].numpy(), values, atol=1e-4, err_msg=name)
        for one, other in zip(first[1:4], second[1:4], strict=True):
            np.testing.assert_allclose(one.numpy(), other, atol=1e-5)


def test_one_leaves_out_what_does_not_mean_one_object_and_says_so_once(sets, capsys):
    for _ in range(2):
        assert len(Episodes(sets)) == 1 and len(Episodes(sets, "any")) == 5
    assert capsys.readouterr().err == (
        "queries: 4 of 5 expressions mean none or several objects and are left out; targets=any plays them\n"
    )
    with pytest.raises(VGGymError, match="means exactly one object; play it with targets=any"):
        Episodes(sets[2:])
    data = RefShapes("refshapes-any", "val", scenes=10)
    singles = [i for i in range(len(data)) if len(data[i].boxes) == 1]
    assert np.flatnonzero(data.means_one()).tolist() == singles
    assert [Episodes(data).query(i).key for i in range(20)] == [data[i].query.key for i in singles]


def test_a_source_that_cannot_tell_names_the_remedy(sets, tiny_clip):
    class Plain:
        name = "plain"

        def __len__(self):
            return len(sets)

        def __getitem__(self, index):
            return sets[index]

    with pytest.raises(VGGymError, match="has 3 boxes, not one; play plain with targets=any"):
        GroundingEnv(dataset=Plain(), clip=tiny_clip).reset(options={"index": 2})


def test_wrong_values_name_the_right_ones(sets, tiny_clip):
    with pytest.raises(VGGymError, match="unknown value of targets 'two'"):
        GroundingEnv(dataset=sets, clip=tiny_clip, targets="two")
    with pytest.raises(VGGymError, match="continuous cannot say several.*use one of classic, edges, multi-edges"):
        GroundingEnv(dataset=sets, clip=tiny_clip, targets="any", action="continuous")


def test_the_oracle_finds_every_set(sets, tiny_clip):
    few = [sets[0], sets[1], sets[2]]
    envs = GroundingVectorEnv(
        3, dataset=few, clip=tiny_clip, targets="any", reward="iou", action="fine-edges", max_steps=30, min_steps=1,
        step_cost=0.001, autoreset_mode="Disabled",
    )  # fmt: skip
    envs.reset(seed=0, options={"index": np.arange(3)})
    alive, f1 = np.ones(3, dtype=bool), np.zeros(3)
    for _ in range(30):
        *_, terminated, truncated, infos = envs.step(oracle_actions(envs.engine))
        f1 = np.where(alive, infos["set_f1"], f1)
        alive &= ~(terminated | truncated)
        envs._done[:] = False  # rows that have ended go on; their values are not read
        if not alive.any():
            break
    assert not alive.any() and f1.tolist() == [1, 1, 1]


def test_faces_show_and_name_the_answers(sets, tiny_clip):
    env = GroundingEnv(dataset=sets, clip=tiny_clip, targets="any", render_mode="rgb_array")
    at(env, 2, BOXES[0])
    keys, actions = keys_to_action(env.engine.actions), env.engine.actions
    assert keys[ord("o"),] is actions.record and keys[ord("n"),] is actions.nothing
    assert not (env.render() == RECORDED).all(axis=-1).any()
    env.step(np.array([3, 3, 3, 3, 0]))
    env.step(actions.record)
    assert (env.render() == RECORDED).all(axis=-1).any()
    for action in (actions.record, actions.nothing, actions.trigger):
        np.testing.assert_array_equal(read_action(say_action(action, actions), actions), action)


def test_the_text_environment_records_and_says_nothing(sets, tiny_clip):
    env = TextGroundingEnv(dataset=sets, clip=tiny_clip, targets="any", reward="iou", min_steps=1)
    observation, _ = env.reset(seed=0, options={"index": 2})
    assert "'this one' records the box" in observation.text and "Recorded" not in observation.text
    env.step("[10, 10, 400, 300]")
    observation, *_, info = env.step("this one")
    assert info["num_boxes"] == 1 and "Recorded: [10" in observation.text
    assert env.step("nothing")[2]
