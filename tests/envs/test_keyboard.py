import numpy as np
import pytest

from vg_gym.envs.actions import ACTIONS, make_actions
from vg_gym.envs.keyboard import HeldKeys, describe, keys_to_action

BOX = np.array([[0.3, 0.3, 0.7, 0.7]], dtype=np.float32)
MOVES = {"a": (-1, 0, 0, 0), "w": (0, -1, 0, 0), "d": (0, 0, 1, 0), "s": (0, 0, 0, 1),
         "l": (1, 0, 0, 0), "k": (0, 1, 0, 0), "j": (0, 0, -1, 0), "i": (0, 0, 0, -1)}  # fmt: skip
"""Key -> which way the edges of the box move."""


def press(actions, keys):
    """Where the box goes when some keys are held."""
    action = keys_to_action(actions)[tuple(sorted(map(ord, keys)))]
    return actions.apply(BOX, np.array([action]))[0][0] - BOX[0]


@pytest.mark.parametrize("name", ACTIONS)
def test_every_key_is_an_action_of_the_space(name):
    actions = make_actions(name, jumps=12)
    keys = keys_to_action(actions)
    assert all(action in actions.space for action in keys.values())
    assert all(key == tuple(sorted(key)) for key in keys)
    assert actions._deltas(np.array([keys[ord(" "),]]))[1].all()
    assert all(len(line) < 90 for line in describe(actions)) and "space" in describe(actions)[-1]
    assert actions.noop in actions.space


@pytest.mark.parametrize("name", ["edges", "multi-edges", "fine-edges"])
def test_keys_move_edges(name):
    actions = make_actions(name)
    for key, way in MOVES.items():
        np.testing.assert_array_equal(np.sign(press(actions, key).round(6)), way)
        assert np.abs(press(actions, key)).max() > 2 * np.abs(press(actions, key + "f")).max() > 0


def test_keys_held_together_act_together():
    np.testing.assert_allclose(press(make_actions("multi-edges"), "dl"), [0.12, 0, 0.12, 0], atol=1e-6)
    np.testing.assert_allclose(press(make_actions("fine-edges"), "wav"), [-0.008, -0.008, 0, 0], atol=1e-6)


def test_digits_jump():
    actions = make_actions("jump-edges", jumps=12)
    keys = keys_to_action(actions)
    assert keys[ord("1"),][4] == 2 and keys[ord("9"),][4] == 10
    assert any("proposal" in line for line in describe(actions))


def test_held_keys_act_once_at_the_first_release_after_a_press():
    held = HeldKeys(keys_to_action(make_actions("multi-edges")))
    for code in map(ord, "dl"):
        held.press(code)
    np.testing.assert_array_equal(held.release(ord("l")), [4, 2, 0, 2, 0])
    assert held.release(ord("d")) is None  # what is left over is no second action
    held.press(ord("f"))
    for _ in range(2):  # a modifier may be held on
        held.press(ord("d"))
        np.testing.assert_array_equal(held.release(ord("d")), [2, 2, 1, 2, 0])
    assert held.release(ord("f")) is None and held.release(ord("x")) is None
