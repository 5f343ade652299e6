import builtins

import numpy as np
import pytest
from gymnasium.utils import play as gymnasium_play

from vg_gym.cli.entry import main

pygame = pytest.importorskip("pygame", reason="vg-gym play needs the extra play")


@pytest.fixture
def keyboard(monkeypatch):
    """A keyboard on which keys are pressed by writing their characters to a list; then the window is closed."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    keys, frames, drawn = [], [], gymnasium_play.display_arr

    def events():
        if not keys:
            return [pygame.event.Event(pygame.QUIT)]
        pressed = keys.pop(0)
        kind, key = (pygame.KEYUP, pressed[1]) if len(pressed) > 1 else (pygame.KEYDOWN, pressed)
        return [pygame.event.Event(kind, key=ord(key))]

    def draw(screen, frame, *rest, **more):
        frames.append(frame)
        drawn(screen, frame, *rest, **more)

    monkeypatch.setattr(pygame.event, "get", events)
    monkeypatch.setattr(gymnasium_play, "display_arr", draw)
    return keys, frames


def test_a_person_plays(keyboard, capsys):
    keys, frames = keyboard
    keys += ["l", "-l", "k", "-k", " ", "- "]
    main(["play", "RefShapes-Ground-v0", "seed=3", "dataset_options.scenes=2"])
    printed = capsys.readouterr().out
    assert "space: done" in printed and "IoU" in printed
    assert (np.diff([frame.astype(int).sum() for frame in frames]) != 0).any()
    assert not any(((60, 220, 120) == frame).all(-1).any() for frame in frames)  # the target is not shown


def test_unknown_environments_and_no_pygame_are_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        main(["play", "RefShape-Ground-v0"])
    assert "RefShapes-Ground-v0" in capsys.readouterr().err
    original = builtins.__import__

    def without(name, *rest, **more):
        if name == "pygame":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit):
        main(["play", "RefShapes-Ground-v0"])
    assert 'pip install "vg_gym[play]"' in capsys.readouterr().err
