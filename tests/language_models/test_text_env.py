import itertools
import re

import numpy as np
import pytest

from experiments import text_episodes
from vg_gym.agents.oracle import greedy_action
from vg_gym.boxes import denormalize, iou, normalize
from vg_gym.envs.actions import make_actions
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.errors import VGGymError
from vg_gym.frames import say
from vg_gym.language_models.text_env import TextGroundingEnv, read_action, say_action


@pytest.mark.parametrize("name", ["multi-edges", "fine-edges"])
def test_every_action_has_words_that_mean_it(name):
    actions = make_actions(name)
    levels = range(len(actions.levels))
    for choice in [*itertools.product(levels, repeat=4)][::7]:
        action = np.array([*choice, 0])
        assert (read_action(say_action(action, actions), actions) == action).all()
    assert (read_action(say_action(actions.trigger, actions), actions) == actions.trigger).all()
    assert read_action("I do not know", actions) is None and read_action("stop it now", actions) is None


@pytest.mark.parametrize("reward", ["clip", "iou"])
def test_policies_in_words_have_the_rewards_of_those_in_numbers(shapes, tiny_clip, reward):
    """An oracle and chance, in the same episodes: same boxes, same ends, rewards to 1e-6."""
    samples = [shapes[i] for i in range(6)]
    options = {"dataset": samples, "clip": tiny_clip, "reward": reward, "min_steps": 1}
    numbers, words = GroundingEnv(**options), TextGroundingEnv(**options, size=64)
    rng = np.random.default_rng(0)
    for index, policy in itertools.product(range(6), ("oracle", "chance")):
        numbers.reset(seed=index, options={"index": index})
        observation, _ = words.reset(seed=index, options={"index": index})
        target = normalize(samples[index].box, samples[index].query.image.size)[None]
        done = False
        while not done:
            actions = numbers.engine.actions
            if policy == "oracle":
                action = greedy_action(actions, numbers.engine.boxes, target)[0]
            else:
                action = rng.integers(0, [5, 5, 5, 5, 2])
                action[4] *= rng.random() < 0.2
                if action[4]:
                    action = actions.trigger
            _, expected, *ends, info = numbers.step(action)
            observation, got, *text_ends, text_info = words.step(f"<think>hm</think>{say_action(action, actions)}.")
            assert got == pytest.approx(expected, abs=1e-6) and ends == text_ends and not text_info["unreadable"]
            np.testing.assert_allclose(text_info["box"], info["box"], atol=1e-6)
            done = any(ends)
        assert samples[index].query.expression in observation.text and max(observation.image.size) >= 64


def test_a_new_box_is_a_step_and_its_reward_telescopes(shapes, tiny_clip):
    sample = shapes[0]
    env = TextGroundingEnv(
        dataset=[sample], clip=tiny_clip, reward="iou", min_steps=1, step_cost=0.0, trigger_bonus=0.0
    )
    observation, info = env.reset(seed=0)
    assert "[0, 0, 1000, 1000]" in observation.text and observation.messages()[0]["content"][0] == {"type": "image"}
    _, first, terminated, truncated, after = env.step(say(sample.box, "0-1000", sample.query.image.size))
    assert after["iou"] > 0.95 and first == pytest.approx(after["iou"] - info["iou"], abs=1e-6)
    assert not terminated and not truncated
    _, second, terminated, _, last = env.step("stop")
    assert second == 0 and terminated and last["iou"] == after["iou"]
    size = sample.query.image.size
    assert iou(denormalize(last["box"], size), sample.box) == pytest.approx(last["iou"], abs=1e-5)


def test_what_cannot_be_read_is_a_step_without_a_move(shapes, tiny_clip):
    env = TextGroundingEnv(dataset=[shapes[0]], clip=tiny_clip, max_steps=2)
    env.reset(seed=0)
    for answer in ("the cat", "[5000, 5000, 6000, 6000]"):
        observation, _, _, truncated, info = env.step(answer)
        assert info["unreadable"] and info["box"].tolist() == [0, 0, 1, 1]
    assert truncated and "step 2 of 2" in observation.text


def test_proposals_are_listed_and_jumped_to(shapes):
    env = TextGroundingEnv(dataset=[shapes[0]], clip="refshapes", action="jump-edges", proposals="contours")
    observation, _ = env.reset(seed=0)
    listed = re.findall(r"(\d+) at \[([\d, ]+)\]", observation.text.partition("jump to 0")[2])
    assert [int(number) for number, _ in listed] == list(range(len(listed))) and len(listed) > 3
    number, corners = listed[2]
    *_, info = env.step(f"I jump to {number}.")
    assert not info["unreadable"]
    np.testing.assert_allclose(info["box"] * 1000, [int(c) for c in corners.split(",")], atol=0.51)
    *_, info = env.step("jump to 999")
    assert info["unreadable"]


def test_errors(shapes, tiny_clip):
    with pytest.raises(VGGymError, match="has no words"):
        TextGroundingEnv(dataset=[shapes[0]], clip=tiny_clip, action="classic")
    with pytest.raises(VGGymError, match="unknown box frame"):
        TextGroundingEnv("percent", dataset=[shapes[0]], clip=tiny_clip)


@pytest.mark.parametrize("reward", ["clip", "iou"])
@pytest.mark.parametrize("episodes", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_an_agent_an_oracle_and_a_script_have_the_same_rewards_in_every_face(episodes, reward):
    """Each plays by itself in faces that show arrays, and what it said is replayed in the others."""
    rows = text_episodes.compare(episodes, "refshapes-label-free", reward, ("words", "TRL"))
    assert {row.face for row in rows} == {"words", "TRL"}
    for row in rows:
        assert row.same_ends and row.difference <= 1e-6 and row.steps > episodes, row


def test_faces_without_their_package_are_left_out_and_say_what_to_install(monkeypatch, capsys):
    packages = {name: ("no_such_module", folder) for name, (_, folder) in text_episodes.PACKAGES.items()}
    monkeypatch.setattr(text_episodes, "PACKAGES", packages)
    assert text_episodes.chosen("") == ("words", "TRL")
    assert "left out: verifiers is not installed: pip install -e integrations/verifiers" in capsys.readouterr().err
    with pytest.raises(VGGymError, match="pip install -e integrations/openenv"):
        text_episodes.chosen("TRL,OpenEnv")
    with pytest.raises(VGGymError, match="did you mean 'words'"):
        text_episodes.chosen("word")
