"""Window on the screen that shows frames, made with pygame."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError, importing

INVISIBLE_DRIVERS = ("offscreen", "dummy")
"""Drivers of SDL without a visible window; without a display, SDL silently takes the first of them."""
WAIT_MS = 200
"""Longest wait for an event in milliseconds before SDL is called again."""


def load_pygame() -> Any:
    """Import and return pygame, without its greeting.

    Raises:
        VGGymError: pygame is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with importing("a window", "pygame", "play"):
        import pygame
    return pygame


class Window:
    """Window of pygame.

    Args:
        size: width and height in pixels.
        title: title of the window.

    Raises:
        VGGymError: pygame is not installed, or this machine lacks a display, which ``SDL_VIDEODRIVER=dummy`` does not
            need.
    """

    def __init__(self, size: tuple[int, int], title: str = "vg_gym"):
        self.pygame = pygame = load_pygame()
        try:
            pygame.display.init()
            driver = os.environ.get("SDL_VIDEODRIVER")
            if pygame.display.get_driver() in INVISIBLE_DRIVERS and not driver:
                pygame.display.quit()
                raise pygame.error("no screen was found")
            self._screen = pygame.display.set_mode(size)
        except pygame.error as error:
            raise VGGymError(
                f'a window needs a display, and this machine lacks one ({error}); render_mode="rgb_array" needs none'
            ) from error
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()

    def show(self, frame: np.ndarray, fps: int = 0) -> None:
        """Show a frame, uint8 (h, w, 3), at most ``fps`` frames per second; 0 shows it at once.

        The window takes the size of the frame.
        """
        pygame, size = self.pygame, (frame.shape[1], frame.shape[0])
        pygame.event.pump()
        if self._screen.get_size() != size:
            self._screen = pygame.display.set_mode(size)
        self._screen.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(fps)

    def wait(self) -> Any:
        """Return the next event. Short waits let Ctrl-C in the terminal through, which one long wait of SDL blocks."""
        while (event := self.pygame.event.wait(WAIT_MS)).type == self.pygame.NOEVENT:
            pass
        return event

    def close(self) -> None:
        """Close the window."""
        self.pygame.display.quit()
