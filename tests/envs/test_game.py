"""The game: keys become actions, the answer is hidden until the end, and Enter starts the next episode."""

import numpy as np
import pytest

from vg_gym.envs import GroundingEnv, game
from vg_gym.envs.game import ENTER, Game


class Screen:
    """A window without a display."""

    def __init__(self, size, title=""):
        self.size = size


@pytest.fixture
def played(shapes, tiny_clip, monkeypatch):
    monkeypatch.setattr(game, "Window", Screen)
    env = GroundingEnv(
        dataset=shapes, clip=tiny_clip, action="edges", render_mode="rgb_array", min_steps=1, max_steps=3
    )
    reports = []
    return Game(env, seed=0, report=reports.append), reports


def tap(played, key):
    played.press(ord(key))
    played.release(ord(key))


def test_a_key_moves_the_box_once_when_it_goes_up(played):
    game, _ = played
    before = game.env.engine.boxes.copy()
    game.press(ord("l"))
    np.testing.assert_array_equal(game.env.engine.boxes, before)
    game.release(ord("l"))
    assert game.env.engine.boxes[0, 0] > before[0, 0] and game.env.engine.steps[0] == 1


def test_the_answer_is_hidden_until_the_trigger(played):
    game, reports = played
    hidden = game.frame()
    assert not game.env.show_target and game.result == "" and reports == []
    tap(game, " ")
    assert game.frame().shape == hidden.shape and game.env.show_target
    assert game.result.startswith("IoU ") and "miss" in game.result and "out of steps" not in game.result
    assert reports == [f"{game.env.engine.query(0).expression}: {game.result}"]


def test_steps_run_out_and_enter_starts_the_next_seed(played):
    game, reports = played
    for _ in range(3):
        tap(game, "l")
    assert game.result.endswith("(out of steps)")
    box = game.env.engine.boxes.copy()
    tap(game, "l")  # nothing moves after the end
    np.testing.assert_array_equal(game.env.engine.boxes, box)
    game.press(ENTER)
    assert game.result == "" and game.played == 2 and len(reports) == 1 and game.env.engine.steps[0] == 0
    first = game.env.engine.query(0).key
    game.env.reset(seed=1)
    assert game.env.engine.query(0).key == first
