"""Shapes and colours of the kinds: :func:`model_of` returns its solids, and :func:`rgb` the colours of its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from vg_gym.data.worlds.refscenes import animals, furniture, household, people, vehicles
from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS
from vg_gym.data.worlds.refscenes.scene import Part, Scene, Thing
from vg_gym.data.worlds.refscenes.solids import Model, Solid, moved, pack, turned

SKIN: dict[str, tuple[int, int, int]] = {
    "white": (238, 196, 168), "tan": (218, 164, 124), "orange": (190, 128, 86), "brown": (112, 70, 46),
}  # fmt: skip
"""Colour of the part ``skin`` -> RGB."""
HAIR: dict[str, tuple[int, int, int]] = {
    "black": (26, 22, 22), "brown": (84, 52, 30), "yellow": (222, 190, 104), "orange": (176, 78, 28),
    "gray": (136, 134, 134), "white": (226, 224, 218),
}  # fmt: skip
"""Colour of the part ``hair`` -> RGB."""
DETAILS: dict[str, tuple[int, int, int]] = {
    "eye": (18, 16, 16), "mouth": (168, 66, 66), "shoes": (58, 46, 40), "tyre": (26, 26, 28), "metal": (150, 152, 158),
    "glass": (92, 122, 142), "bumper": (62, 63, 68), "headlight": (250, 246, 214), "tail light": (200, 26, 26),
    "dark": (34, 34, 38), "wood": (134, 88, 50), "bark": (92, 62, 40), "trim": (236, 234, 226), "mane": (52, 36, 26),
    "hoof": (54, 44, 38), "muzzle": (228, 190, 170), "pink": (226, 132, 142), "horn": (232, 222, 196),
    "ear": (70, 48, 36), "beak": (240, 146, 34), "carrot": (238, 120, 30), "screen": (22, 26, 34),
    "glow": (84, 150, 206), "dial": (246, 244, 236), "inside": (226, 224, 216), "coffee": (74, 44, 26),
    "stem": (58, 128, 50), "pot": (178, 98, 66), "soil": (70, 48, 34), "blossom": (232, 92, 140),
    "petal": (246, 206, 84), "paper": (240, 236, 222), "tape": (196, 172, 128), "dough": (206, 152, 88),
    "plate": (240, 240, 240), "flame": (255, 190, 60), "linen": (240, 238, 232), "band": (244, 244, 240),
    "saddle": (44, 38, 36), "head": (62, 54, 50), "roof": (150, 74, 58), "door": (98, 64, 40),
    "yellow": (236, 200, 60), "snow": (240, 243, 248), "shirt": (236, 236, 234), "hull": (140, 90, 60),
}  # fmt: skip
"""Part without a colour of its own -> RGB."""
GLOSS = {"animal": 0.0, "person": 0.0, "vehicle": 0.55, "household": 0.4, "food": 0.3, "toy": 0.2, "furniture": 0.12}
"""Supercategory -> strength of the highlight."""
PERIOD_OF_HEIGHT = 0.13
"""Period of a pattern as a fraction of the usual height, unless :data:`PERIODS_M` says otherwise."""
PERIODS_M = {
    "person": 0.15, "table": 0.22, "sofa": 0.2, "bed": 0.3, "car": 0.34, "bus": 0.5, "giraffe": 0.34, "cow": 0.4,
    "dog": 0.13, "cat": 0.075, "pig": 0.2, "book": 0.04, "bowl": 0.034, "ball": 0.085, "umbrella": 0.2, "mug": 0.03,
    "cake": 0.04, "donut": 0.013, "lamp": 0.07, "vase": 0.04, "chair": 0.11, "box": 0.11, "boat": 0.3,
    "suitcase": 0.11, "plant": 0.055, "cone": 0.16,
}  # fmt: skip
"""Kind -> period of its patterns in metres."""
UMBRELLA_TILT_RAD = 1.15
"""Angle between the stick of an umbrella on the floor and the vertical."""
HOLDS = {"umbrella": "up", "suitcase": "low"}
"""Kind of a thing that is held -> how, a key of ``people.HANDS``; all others are held in front."""

_BUILDERS: dict[str, Callable[[Sequence[str]], list[Solid]]] = {
    "teddy bear": people.teddy_bear,
    "snowman": people.snowman,
    **{name: getattr(vehicles, name) for name in ("car", "bus", "truck", "bicycle", "boat")},
    **{name: getattr(vehicles, name) for name in ("tree", "house", "hydrant", "cone")},
    **{name: getattr(furniture, name) for name in ("chair", "table", "sofa", "bed", "bench", "lamp")},
    **{name: getattr(household, name) for name in ("television", "laptop", "clock", "bottle", "mug", "bowl", "vase")},
    **{name: getattr(household, name) for name in ("book", "ball", "umbrella", "suitcase", "box", "apple", "banana")},
    **{name: getattr(household, name) for name in ("donut", "cake", "plant")},
}


@lru_cache(4096)
def build(kind: str, variant: str, pose: str, parts: tuple[str, ...], seat: str = "", hold: str = "") -> Model:
    """Return the model of a kind.

    Args:
        kind: a key of :data:`~vg_gym.data.worlds.refscenes.kinds.KINDS`.
        variant: variant of a person, else ``""``.
        pose: pose, or ``""``.
        parts: names of the parts that it has.
        seat: what a sitting person sits on, as in :func:`vg_gym.data.worlds.refscenes.people.person`.
        hold: how a person holds a thing, or ``""``.
    """
    if kind == "person":
        solids = people.person(variant, pose, parts, seat, hold)
    elif kind == "duck":
        solids = animals.duck(pose, parts)
    elif kind in animals.PLANS:
        solids = animals.quadruped(kind, pose, parts)
    else:
        solids = _BUILDERS[kind](parts)
    if kind == "umbrella" and seat == "floor":
        solids = moved(solids, turned(pitch=UMBRELLA_TILT_RAD), (-0.4, 0, 0.36))
    return pack(solids, PERIODS_M.get(kind, PERIOD_OF_HEIGHT * KINDS[kind].height_m))


def model_of(scene: Scene, index: int) -> Model:
    """Return the model of a thing of a scene, in the frame of the thing."""
    return model_among(scene.things, index)


def model_among(things: Sequence[Thing], index: int) -> Model:
    """Return the model of one of several things, in the frame of the thing."""
    thing = things[index]
    names = tuple(part.name for part in thing.parts)
    hold = "" if thing.holds is None else HOLDS.get(things[thing.holds].kind, "front")
    return build(thing.kind, thing.variant, thing.pose, names, seat_of(things, index), hold)


def seat_of(things: Sequence[Thing], index: int) -> str:
    """Return how a person sits: ``chair``, ``saddle``, ``floor``, or ``""`` if the person does not.

    An umbrella that nobody holds lies on the ``floor``.
    """
    thing = things[index]
    if thing.kind == "umbrella":
        return "" if any(other.holds == index for other in things) else "floor"
    if thing.kind != "person" or thing.pose != "sitting":
        return ""
    surface = None if thing.support is None else furniture.SURFACES.get(things[thing.support].kind)
    return (surface.seat if surface else "") or "floor"


def rgb(part: Part) -> np.ndarray:
    """Return the colour of a part in daylight, float64 (3,) in [0, 1]."""
    table = {"skin": SKIN, "hair": HAIR}.get(part.name, COLORS)
    return np.array(table.get(part.color, COLORS[part.color])) / 255


def detail_rgb(name: str) -> np.ndarray:
    """Return the colour of a part that has none of its own, float64 (3,) in [0, 1]."""
    return np.array(DETAILS[name]) / 255
