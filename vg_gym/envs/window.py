"""A window on the screen that shows frames, made with pygame."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from vg_gym.errors import VGGymError, importing

UNSEEN = ("offscreen", "dummy")
"""Drivers of SDL that show nothing; it takes the first of them in silence where there is no display."""
PATIENCE = 200
"""Milliseconds for which SDL waits at a time."""


def load_pygame() -> Any:
    """The module pygame, which greets nobody.

    Raises:
        VGGymError: it is not installed.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    with importing("a window", "pygame", "play"):
        import pygame
    return pygame


class Window:
    """A pygame window.

    Args:
        size: width and height in pixels.
        title: of the window.

    Raises:
        VGGymError: pygame is not installed, or there is no display. ``SDL_VIDEODRIVER=dummy`` asks for none.
    """

    def __init__(self, size: tuple[int, int], title: str = "vg_gym"):
        self.pygame = pygame = load_pygame()
        try:
            pygame.display.init()
            asked = os.environ.get("SDL_VIDEODRIVER")
            if pygame.display.get_driver() in UNSEEN and not asked:
                pygame.display.quit()
                raise pygame.error("no screen was found")
            self._screen = pygame.display.set_mode(size)
        except pygame.error as error:
            raise VGGymError(
                f'a window needs a display, and there is none here ({error}); render_mode="rgb_array" needs none'
            ) from error
        pygame.display.set_caption(title)
        self._clock = pygame.time.Clock()

    def show(self, frame: np.ndarray, fps: int = 0) -> None:
        """Show a frame, uint8 (h, w, 3), at ``fps`` frames a second at most; 0: at once.

        The window takes the frame's size.
        """
        pygame, size = self.pygame, (frame.shape[1], frame.shape[0])
        pygame.event.pump()
        if self._screen.get_size() != size:
            self._screen = pygame.display.set_mode(size)
        self._screen.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.display.flip()
        self._clock.tick(fps)

    def wait(self) -> Any:
        """The next event; Ctrl-C in the terminal is heard meanwhile, as it would not be in one long wait of SDL's."""
        while (event := self.pygame.event.wait(PATIENCE)).type == self.pygame.NOEVENT:
            pass
        return event

    def close(self) -> None:
        """Close it."""
        self.pygame.display.quit()
