"""Grounding of a user's own pictures: from an image and a sentence to a box, in one call."""

from vg_gym.pictures.found import Found
from vg_gym.pictures.ground import ground

__all__ = ["Found", "ground"]
