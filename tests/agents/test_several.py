"""Agents that answer with none, one or several boxes."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from torch.distributions import Categorical

from vg_gym.agents import cloning
from vg_gym.agents.checkpoint import policy_arguments, policy_of, save_agent
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.agents.oracle import missing_targets, oracle_actions
from vg_gym.agents.policy import JumpHead
from vg_gym.agents.rollout import play
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.boxes import pixel_iou
from vg_gym.clip.loader import load_clip
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs.factory import make_engine

OPTIONS = {"targets": "any", "reward": "iou", "action": "jump-edges", "proposals": "ssd", "score": "relational",
           "max_steps": 20, "min_steps": 1, "step_cost": 0.0005, "cache": False}  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    data = RefShapes("refshapes-any", "val", scenes=4)
    return make_engine(16, dataset=list(data), clip=load_clip("refshapes"), **OPTIONS)


def test_the_oracle_answers_every_expression(engine):
    episodes = play(engine, lambda _: oracle_actions(engine), range(16))
    assert np.mean([episode.success for episode in episodes]) == 1
    counts = [len(engine.episodes.all_targets(index)) for index in range(16)]
    assert [len(episode.boxes) for episode in episodes] == counts and {0, 1} < set(counts)
    assert [episode.steps for episode, count in zip(episodes, counts, strict=True) if not count] == [1] * 4


def test_every_proposal_that_is_meant_and_not_recorded_is_a_referent(engine):
    env = GroundingVecEnv(engine)
    env.reset()
    before = cloning._referents(engine)
    assert before.shape == (16, 12) and missing_targets(engine).sum() == engine.answers.num_targets.sum()
    row = int(engine.answers.num_targets.argmax())
    target = engine.answers.targets[row, 0]
    engine.boxes[row] = target
    env.step(np.tile(engine.actions.record, (16, 1)))
    changed = (before != cloning._referents(engine)).any(axis=1)
    ious = pixel_iou(engine.proposals[row, :, :4], target)
    assert changed[row] and before[row][ious >= 0.5].all() and not cloning._referents(engine)[row][ious >= 0.5].any()


def test_a_jump_to_any_referent_is_right():
    logits = torch.tensor([[0.0, 0.0, 2.0, 1.0, -1.0, 0.5, 0.3]])  # go on, trigger, three jumps, two answers
    last = Categorical(logits=logits)
    edges = [Categorical(logits=torch.zeros(1, 7)) for _ in range(4)]
    distribution = cloning.MultiCategoricalDistribution([7, 7, 7, 7, 7])
    distribution.distribution = [*edges, last]

    def value(choice, referents):
        return cloning._log_prob(distribution, torch.tensor([[3, 3, 3, 3, choice]]), torch.tensor([referents])).exp()

    p = last.probs[0]
    assert value(2, [1.0, 0.0, 1.0]).item() == pytest.approx((p[2] + p[4]).item())
    assert value(3, [1.0, 0.0, 1.0]).item() == pytest.approx((p[2:5]).sum().item())
    assert value(6, [1.0, 1.0, 1.0]).item() == pytest.approx(p[6].item())
    assert value(0, [1.0, 1.0, 1.0]).item() == pytest.approx(p[0].item() / 7**4)


def test_the_logits_of_answers_follow_those_of_the_jumps():
    head = JumpHead(2, 9, 3, after=2)
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.arange(7.0))
    scores = torch.tensor([[0.0, 0.0, 10.0, 20.0, 30.0]])
    assert head(scores)[0].tolist() == [0, 1, 2, 3, 14, 24, 34, 5, 6]


def test_a_trained_agent_answers_with_sets_and_a_probability(engine, tmp_path):
    torch.manual_seed(0)
    env = GroundingVecEnv(engine)
    model = PPO(policy_of("ppo"), env, n_steps=2, batch_size=16, seed=0, policy_kwargs=policy_arguments("ppo", 16))
    reports = []
    config = cloning.CloneConfig(batch_size=64, buffer_size=2000, learning_rate=3e-3, teacher=1.0)
    cloning.learn_choice(model, env, config, cloning.Budget(0.0, steps=60), reports.append)
    assert reports[-1]["loss"] < 0.7 * reports[0]["loss"]
    cloning.clone_oracle(model, env, config, cloning.Budget(0.0, steps=200), reports.append)
    about = {"algo": "ppo", "width": 16, "clip": "refshapes", "env": {**OPTIONS, "initial_box": "full"}}
    save_agent(tmp_path / "agent", model, about)
    agent, data = AgentGrounder(str(tmp_path / "agent"), batch_size=6), engine.episodes.items
    answers = agent.ground([sample.query for sample in data])
    assert len(answers) == 16 and {len(answer.boxes) for answer in answers} > {0}
    scores, some = np.array([answer.score for answer in answers]), np.array([len(s.boxes) > 0 for s in data])
    assert ((scores >= 0) & (scores <= 1)).all() and scores[some].mean() > scores[~some].mean()
    for answer in answers:
        assert answer.boxes.shape[1:] == (4,) and (answer.boxes >= 0).all() and (answer.boxes <= 128).all()
    again = AgentGrounder(str(tmp_path / "agent"), batch_size=16).ground([data[5].query])
    np.testing.assert_allclose(again[0].boxes, answers[5].boxes, atol=1e-3)
    assert again[0].score == pytest.approx(answers[5].score, abs=1e-5)
