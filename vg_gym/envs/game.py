"""The environment as a game for a person: one action per key press, no time limit, and the answer at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vg_gym.data.drawing import with_notes
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.envs.keyboard import HeldKeys, describe
from vg_gym.envs.window import Window

ENTER, ESCAPE = 13, 27
"""Codes of the keys Enter and Escape."""


class Game:
    """Episodes of an environment, played with the keyboard in a window.

    The target and the IoU are hidden until an episode is over. Unlike in Gymnasium's own ``play``, a key that is held
    does not repeat, and the last frame of an episode stays on the screen.

    Args:
        env: environment in mode ``rgb_array``.
        seed: seed of the first episode, which grows by 1 per episode; None for a random one.
        report: called with the text of every result.

    Raises:
        VGGymError: pygame is not installed, or this machine lacks a display.
    """

    def __init__(self, env: GroundingEnv, seed: int | None = None, report: Callable[[str], None] = print):
        self.env, self.seed, self.report = env, seed, report
        self.help = describe(env.engine.actions)
        self.played = 0
        self._keys = HeldKeys(env.get_keys_to_action())
        self._start()
        self.window = Window(self.frame().shape[1::-1], "vg_gym: find the object")

    def run(self) -> None:
        """Play until the window is closed or Escape is pressed."""
        pygame, window = self.window.pygame, self.window
        window.show(self.frame())
        while True:
            event = window.wait()
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == ESCAPE):
                break
            if event.type == pygame.KEYDOWN:
                self.press(event.key)
            elif event.type == pygame.KEYUP:
                self.release(event.key)
            elif event.type not in (pygame.VIDEOEXPOSE, pygame.WINDOWEXPOSED):
                continue
            window.show(self.frame())
        window.close()

    def press(self, code: int) -> None:
        """Handle a key that goes down; Enter starts the next episode."""
        if code == ENTER:
            self._start()
        self._keys.press(code)

    def release(self, code: int) -> None:
        """Handle a key that goes up, which may complete an action."""
        action = self._keys.release(code)
        if action is not None and not self.result:
            self._step(action)

    def frame(self) -> np.ndarray:
        """Return the content of the window, uint8 (h, w, 3): image, expression, score, and the keys or the result."""
        self.env.show_target = bool(self.result)
        frame: Any = self.env.render()
        over = [self.result, "enter: next    esc: leave", *[""] * (len(self.help) - 2)]  # the window keeps its size
        return with_notes(frame, over if self.result else self.help)

    def _start(self) -> None:
        self.env.reset(seed=None if self.seed is None else self.seed + self.played)
        self.played += 1
        self.result = ""

    def _step(self, action: Any) -> None:
        _, _, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            hit = "a hit" if info.get("is_success") else "a miss"
            measure = f"F1 {info['set_f1']:.2f}" if "set_f1" in info else f"IoU {info.get('iou', 0):.2f}"
            overlap = f"{measure}, {hit}, " if "iou" in info else ""
            ended = "" if terminated else " (out of steps)"
            self.result = f"{overlap}score {info['clip_score']:.2f}{ended}"
            self.report(f"{self.env.engine.query(0).expression}: {self.result}")
