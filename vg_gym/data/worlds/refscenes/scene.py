"""Contents of a RefScenes scene, and the truth about its picture.

A :class:`Scene` is the input of the renderer. The language reads the scene and its :class:`Truth`: the picture decides
which things are on the left, in front or cut off; the scene decides their kinds and actions.

The world's axes are x to the right, y away from the viewer and z up, in metres; the floor is z = 0. A thing with yaw 0
faces +x, and yaw turns it counterclockwise as seen from above, in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_TARGET_VISIBLE = 0.4
"""Smallest visible fraction of an object that an expression may refer to."""


@dataclass(frozen=True)
class Part:
    """A part of a thing with a colour of its own."""

    name: str
    """Name such as ``shirt``; those in :data:`~vg_gym.data.worlds.refscenes.kinds.PART_NAMES` can be spoken of."""
    color: str
    """A key of :data:`~vg_gym.data.worlds.refscenes.kinds.COLORS`."""
    pattern: str = "plain"
    """One of :data:`~vg_gym.data.worlds.refscenes.kinds.PATTERNS`."""
    second: str = "white"
    """Second colour of the pattern."""


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    kind: str
    """A key of :data:`~vg_gym.data.worlds.refscenes.kinds.KINDS`."""
    parts: tuple[Part, ...]
    """The parts that it has, first the one whose colour is the thing's own; a missing hat is not listed."""
    size: float
    """Scale relative to the usual size of the kind."""
    height_m: float
    """Height in metres when standing."""
    position: tuple[float, float, float]
    """Middle of its base (x, y, z) in metres."""
    yaw: float = 0.0
    """Direction that it faces in radians."""
    pose: str = ""
    """One of :data:`~vg_gym.data.worlds.refscenes.kinds.POSES`, or ``""`` if the kind has none."""
    variant: str = ""
    """``man``, ``woman``, ``boy`` or ``girl`` of a person, else ``""``."""
    support: int | None = None
    """Index of the thing that it stands, sits or lies on; None for the floor, and for a thing that is held."""
    holds: int | None = None
    """Index of the thing that it holds."""

    def part(self, name: str) -> Part | None:
        """Return the part of a name, or None if the thing lacks it."""
        return next((part for part in self.parts if part.name == name), None)

    @property
    def main(self) -> Part:
        """The part whose colour is that of the thing: the body of a dog, the shirt or dress of a person."""
        return self.parts[0]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without roll."""

    position: tuple[float, float, float]
    """Place (x, y, z) in metres."""
    target: tuple[float, float, float]
    """Point that is in the middle of the picture."""
    focal: float
    """Focal length as a multiple of the picture's long side."""


@dataclass(frozen=True)
class Light:
    """Sun or lamp at infinity, and the light from all sides."""

    direction: tuple[float, float, float]
    """Unit vector towards the light."""
    strength: float
    """Strength of the direct light; 1 is the sun at noon."""
    ambient: float
    """Strength of the light from all sides."""
    softness: float = 0.0
    """Brightness of the shadows, from 0 (black but for the ambient light) to 1 (none)."""


@dataclass(frozen=True)
class Backdrop:
    """Ground and what is behind it."""

    ground: str
    """``grass``, ``sand``, ``tiles``, ``wood``, ``asphalt``, ``snow``, ``water`` or ``carpet``."""
    colors: tuple[tuple[float, float, float], tuple[float, float, float]]
    """The two colours of the ground, RGB in [0, 1]."""
    wall_y: float | None
    """Distance y of the wall in metres; None outdoors, where there is a sky."""
    sky: tuple[tuple[float, float, float], tuple[float, float, float]]
    """Colours of the horizon and the zenith, or of the wall's lower and upper part, RGB in [0, 1]."""
    texture: float
    """Contrast of the ground's texture."""
    grain_m: float
    """Size in metres of a tile, a plank or a patch of grass."""
    fog_m: float
    """Distance in metres after which 63 % of the light is fog."""


@dataclass(frozen=True)
class Photometry:
    """Effects of a camera on the light before it becomes a JPEG file."""

    exposure: float = 1.0
    """Factor of the brightness."""
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green and blue."""
    contrast: float = 1.0
    """Exponent of the tone curve around the middle."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise in grey levels of 255."""
    blur: float = 0.0
    """Standard deviation of the lens's blur in pixels."""
    quality: int = 90
    """Quality of the JPEG file."""
    mirrored: bool = False
    """True if the picture, its boxes and masks are mirrored left to right, which only ``test-shifted`` does."""


@dataclass(frozen=True)
class Scene:
    """Everything that a picture shows; a pure function of (name, split, index, seed)."""

    things: tuple[Thing, ...]
    camera: Camera
    light: Light
    backdrop: Backdrop
    photometry: Photometry
    width: int
    """Width of the picture in pixels."""
    height: int
    """Height of the picture in pixels."""
    texture_seed: int = 0
    """Seed of the textures and the noise."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Visible properties of each thing in the picture of a scene, in the order of ``Scene.things``."""

    boxes: np.ndarray
    """Boxes of the visible parts, float32 (N, 4) ``xyxy`` pixels; zeros where nothing is visible."""
    visible: np.ndarray
    """Fraction of each thing's own pixels, in and out of the picture, that is visible, float32 (N,)."""
    depth: np.ndarray
    """Distance of each thing's middle along the camera's axis in metres, float32 (N,)."""
    parts: tuple[dict[str, int], ...]
    """Visible pixels of each thing's parts by name; a part without visible pixels is not listed."""
    segments: np.ndarray
    """Thing of each pixel, uint8 (H, W): numbers from 1, 0 for the backdrop."""

    @property
    def targets(self) -> np.ndarray:
        """Indices of the things that an expression may refer to, by :data:`MIN_TARGET_VISIBLE`."""
        return np.flatnonzero(self.visible >= MIN_TARGET_VISIBLE)


def headings(scene: Scene) -> np.ndarray:
    """Return the direction that each thing faces in the picture, float64 (N, 2): to the right, and away.

    (1, 0) faces right, (-1, 0) left, (0, -1) the camera and (0, 1) away from it.
    """
    camera = scene.camera
    ahead = np.arctan2(camera.target[1] - camera.position[1], camera.target[0] - camera.position[0])
    turns = np.array([thing.yaw for thing in scene.things]) - ahead
    sign = -1.0 if scene.photometry.mirrored else 1.0
    return np.stack([-np.sin(turns) * sign, np.cos(turns)], 1)
