"""Episodes played once each, by the greedy oracle."""

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.agents.oracle import ActionOracle, greedy_action
from vg_gym.agents.rollout import draw_episode, play
from vg_gym.envs.actions import make_actions
from vg_gym.envs.factory import make_engine


def test_play_plays_each_episode_once(shapes, tiny_clip):
    engine = make_engine(3, dataset=shapes, clip=tiny_clip, reward="iou")
    actions = make_actions("multi-edges")

    def teacher(_):
        return greedy_action(actions, engine.boxes, engine.targets)

    episodes = play(engine, teacher, range(8))
    assert [e.index for e in episodes] == list(range(8))
    assert all(e.triggered and e.iou > 0.75 for e in episodes)
    oracle = ActionOracle().ground_samples(list(shapes))
    for sample, prediction, episode in zip(shapes, oracle, episodes, strict=True):
        assert box_ops.iou(prediction.box, sample.box) == pytest.approx(episode.iou, abs=1e-4)


def test_first_boxes_may_be_given(shapes, tiny_clip):
    engine = make_engine(3, dataset=shapes, clip=tiny_clip, max_steps=2, min_steps=1)
    boxes = np.tile(np.float32([0.1, 0.2, 0.5, 0.6]), (5, 1))
    stop = np.array([engine.actions.trigger] * 3)
    episodes = play(engine, lambda _: stop, range(5), boxes)
    assert [e.steps for e in episodes] == [1] * 5
    np.testing.assert_allclose([e.trajectory[-1] for e in episodes], boxes, atol=1e-6)
    frame = draw_episode(engine.episodes, episodes[4], size=100)
    assert frame.dtype == np.uint8 and frame.shape[1] == 100
