import builtins
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from vg_gym.cli.entry import main
from vg_gym.envs.window import Window

pygame = pytest.importorskip("pygame", reason="vg-gym play needs the extra play")
TARGET = (60, 220, 120)
PLAY = ["play", "RefShapes-Ground-v0", "--seed", "3", "dataset_options.scenes=2"]


@pytest.fixture
def screen(monkeypatch, tmp_path):
    """Type keys, then close the window; gives every picture that was on the screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")

    def typed(keys, *options):
        pygame.display.init()
        pygame.event.clear()
        for key in keys:
            up = len(key) > 1
            code = pygame.K_RETURN if key[-1] == "\n" else ord(key[-1])
            pygame.event.post(pygame.event.Event(pygame.KEYUP if up else pygame.KEYDOWN, key=code))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        shown, flip = [], pygame.display.flip

        def keep():
            flip()
            shown.append(pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1))

        monkeypatch.setattr(pygame.display, "flip", keep)
        main([*PLAY, *options])
        monkeypatch.setattr(pygame.display, "flip", flip)
        return shown

    return typed


def shows_target(frame):
    return (np.abs(frame.astype(int) - TARGET) <= 3).all(-1).any()


def tap(keys):
    return [stroke for key in keys for stroke in (key, f"-{key}")]


def test_a_person_plays(screen, capsys):
    frames = screen([*tap("lk"), *tap(" "), *tap("\n")])
    assert frames[0].shape == frames[-1].shape  # the keys are below the image in both
    changes = [not np.array_equal(a, b) for a, b in zip(frames, frames[1:], strict=False)]
    assert changes == [False, True, False, True, False, True, True, False]  # releases act; enter acts at once
    assert [shows_target(frame) for frame in frames] == [False] * 6 + [True] + [False] * 2
    said = capsys.readouterr().out
    assert said.startswith("the ") and "IoU" in said and said.count("\n") == 1


def test_a_seed_gives_the_same_pictures_one_after_the_other(screen):
    once, again = (screen(tap("\n")) for _ in range(2))
    np.testing.assert_array_equal(once[0], again[0])
    np.testing.assert_array_equal(once[1], again[1])
    assert not np.array_equal(once[0], once[1])


@pytest.mark.parametrize("action", ["classic", "edges", "continuous"])
def test_no_key_breaks_any_action_set(screen, action, capsys):
    frames = screen([*tap("wasdijklefqtv12 "), "a", "l", "f", "-a", "-f", "-l", *tap("x")], f"action={action}")
    assert len(frames) > 30 and "IoU" in capsys.readouterr().out


def one_line(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_mistakes_are_one_line(monkeypatch, capsys):
    assert "did you mean 'RefShapes-Ground-v0'" in one_line(capsys, "play", "RefShape-Ground-v0")
    assert "'fast' is not OPTION=VALUE" in one_line(capsys, "play", "RefShapes-Ground-v0", "fast")
    original = builtins.__import__

    def without(name, *rest, **more):
        if name == "pygame":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert one_line(capsys, *PLAY).endswith('a window needs pygame: pip install "vg_gym[play]"')


def test_without_a_display_it_says_so_and_ends(monkeypatch, capsys):
    """SDL alone would draw where nobody sees it, for ever."""
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.setattr(pygame.display, "get_driver", lambda: "offscreen")
    assert "a window needs a display, and this machine lacks one" in one_line(capsys, *PLAY)


def test_without_pygame_nothing_is_loaded_first(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pygame", None)
    monkeypatch.setattr("gymnasium.make", None)
    with pytest.raises(SystemExit) as ended:
        main(PLAY)
    assert ended.value.code == 2 and 'a window needs pygame: pip install "vg_gym[play]"' in capsys.readouterr().err


def test_ctrl_c_ends_it_though_no_key_is_pressed(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window((20, 10))
    pygame.event.clear()
    interrupt = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    late = threading.Timer(10, pygame.event.post, (pygame.event.Event(pygame.QUIT),))
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores the signal
    interrupt.start()
    late.start()
    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            while time.monotonic() - begin < 15:
                window.wait()
    finally:
        signal.signal(signal.SIGINT, former)
        late.cancel()
        window.close()
    assert time.monotonic() - begin < 5
