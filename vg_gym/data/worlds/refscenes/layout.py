"""Layout of a scene: who holds what, sits where, and stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numba
import numpy as np

from vg_gym.data.worlds.refscenes.catalogue import HOLDS, model_among
from vg_gym.data.worlds.refscenes.furniture import SURFACES
from vg_gym.data.worlds.refscenes.people import HANDS
from vg_gym.data.worlds.refscenes.scene import Thing

PLACES = {"chair": 1, "sofa": 2, "bench": 2, "bed": 1, "table": 4, "box": 1, "horse": 1, "bicycle": 1}
"""Kind -> number of things that it can carry."""
RIDERS = ("chair", "sofa", "bench", "horse", "bicycle")
"""Kinds on which a person sits."""
CARRIES: dict[str, tuple[str, ...]] = {
    "table": ("mug", "bottle", "bowl", "vase", "book", "apple", "banana", "donut", "cake", "clock", "laptop", "lamp",
              "plant", "teddy bear", "cat", "television"),
    "box": ("cat", "mug", "book", "clock", "vase", "plant", "teddy bear", "bottle"),
    "sofa": ("cat", "dog", "teddy bear", "book", "ball"),
    "bed": ("cat", "dog", "teddy bear", "book", "laptop"),
    "bench": ("cat", "book", "bottle", "teddy bear"),
    "chair": ("cat", "book", "teddy bear"),
}  # fmt: skip
"""Kind -> kinds that can stand on it."""
HELD_KINDS = ("umbrella", "suitcase", "ball", "bottle", "mug", "book", "teddy bear")
"""Kinds that a person can hold."""
HOLDING, RIDING, STANDING_ON = 0.8, 0.65, 0.8
"""Probability that a thing is held, that a person takes a free seat, and that a thing stands on a free support."""
SPREAD = (1.02, 1.5)
"""Range of the gap between neighbours, as a factor of the distance at which they touch."""


def bounds_of(things: Sequence[Thing], index: int) -> np.ndarray:
    """Return the lowest and highest x, y, z of a thing around its base before it is turned, float64 (2, 3)."""
    return model_among(things, index).bounds * things[index].size


def arrange(rng: np.random.Generator, things: Sequence[Thing]) -> tuple[Thing, ...]:
    """Return the things with holders, supports and places."""
    linked = list(things)
    hosts = _link(rng, linked)
    free = [index for index in range(len(linked)) if index not in hosts]
    for index, (x, y) in zip(free, _spread(rng, linked, free), strict=True):
        linked[index] = replace(linked[index], position=(x, y, 0.0))
        _ground(linked, index)
    for index, host in hosts.items():
        if linked[index].support is None:
            _put_in_hand(linked, index, host)
        else:
            _put_on(rng, linked, index, host, [i for i, h in hosts.items() if h == host].index(index))
    for index in hosts:  # a thing held by somebody who sits follows the person
        if linked[index].support is None:
            _put_in_hand(linked, index, hosts[index])
    return tuple(linked)


def _link(rng: np.random.Generator, things: list[Thing]) -> dict[int, int]:
    """Decide what is held and what stands on what; return dependent -> host."""
    hosts: dict[int, int] = {}
    room = {index: PLACES.get(thing.kind, 0) for index, thing in enumerate(things)}
    for index, thing in enumerate(things):
        if thing.kind == "person" and rng.random() < RIDING:
            seats = [i for i, other in enumerate(things) if other.kind in RIDERS and room[i] > 0]
            if seats:
                _attach(things, hosts, room, index, seats[int(rng.integers(len(seats)))], pose="sitting")
    for index, thing in enumerate(things):
        able = [i for i, t in enumerate(things) if thing.kind in CARRIES.get(t.kind, ()) and room[i] > 0]
        if able and thing.kind != "person" and rng.random() < STANDING_ON:
            _attach(things, hosts, room, index, able[int(rng.integers(len(able)))], pose=thing.pose)
    for index, thing in enumerate(things):
        people = [
            i for i, t in enumerate(things)
            if t.kind == "person" and t.holds is None and t.pose in ("standing", "walking")
        ]  # fmt: skip
        if thing.kind in HELD_KINDS and index not in hosts and people and rng.random() < HOLDING:
            host = people[int(rng.integers(len(people)))]
            things[host] = replace(things[host], holds=index)
            hosts[index] = host
    return hosts


def _attach(
    things: list[Thing], hosts: dict[int, int], room: dict[int, int], index: int, host: int, pose: str
) -> None:  # fmt: skip
    if things[host].kind == "horse":
        things[host] = replace(things[host], pose="walking")
    if things[index].kind in ("dog", "cat") and pose == "walking":
        pose = "sitting"
    things[index] = replace(things[index], support=host, pose=pose)
    hosts[index] = host
    room[host] -= 1


def _put_on(rng: np.random.Generator, things: list[Thing], index: int, host: int, place: int) -> None:
    """Place a thing on its support; the places of a support lie side by side."""
    base, surface = things[host], SURFACES[things[host].kind]
    places = PLACES[base.kind]
    side = (2 * (place % places) + 1) / places - 1.0 if places > 1 else 0.0
    side += rng.uniform(-0.3, 0.3) / places
    x = surface.center[0] + surface.half[0] * rng.uniform(-0.5, 0.5) * (base.kind not in RIDERS)
    offset = np.array((x, surface.center[1] + surface.half[1] * side, surface.center[2])) * base.size
    cos, sin = np.cos(base.yaw), np.sin(base.yaw)
    spot = np.array((offset[0] * cos - offset[1] * sin, offset[0] * sin + offset[1] * cos, offset[2]))
    yaw = things[index].yaw
    if things[index].kind == "person" or base.kind in RIDERS:
        yaw = base.yaw + (rng.normal(0, 0.15) if base.kind in ("sofa", "bench") else 0.0)
    position = tuple((np.array(base.position) + spot).tolist())
    things[index] = replace(things[index], position=position, yaw=float(yaw))


def _put_in_hand(things: list[Thing], index: int, host: int) -> None:
    holder, thing = things[host], things[index]
    way = HOLDS.get(thing.kind, "front")
    x, y, z = np.array(HANDS[way]) * holder.size
    low, high = bounds_of(things, index)[:, 2]
    if way == "low":
        z -= high - 0.03
    elif way == "front":
        x, z = x + 0.03, z - (high + low) / 2
    cos, sin = np.cos(holder.yaw), np.sin(holder.yaw)
    px, py, pz = holder.position
    things[index] = replace(
        thing, position=(float(px + x * cos - y * sin), float(py + x * sin + y * cos), float(pz + z)), yaw=holder.yaw
    )


def _ground(things: list[Thing], index: int) -> None:
    """Let the lowest point of a thing touch the floor."""
    low = float(bounds_of(things, index)[0, 2])
    x, y, _ = things[index].position
    sunk = -0.25 * things[index].size if things[index].kind == "boat" else 0.0
    things[index] = replace(things[index], position=(x, y, -min(low, 0.0) + sunk if low < -0.05 else sunk))


def _spread(rng: np.random.Generator, things: list[Thing], free: list[int]) -> list[tuple[float, float]]:
    """Place the things that stand on the floor side by side without overlap, each beside another."""
    spots: list[tuple[float, float]] = []
    corners = np.empty((len(free), 4, 2))
    for count, index in enumerate(free):
        outline = _outline(things, index)
        spot = np.zeros(2)
        if spots:
            anchor = np.array(spots[int(rng.integers(len(spots)))])
            turn = rng.uniform(-0.75, 0.75) + np.pi * rng.integers(2)
            way = np.array((np.cos(turn), np.sin(turn)))
            step = 0.35 * float(np.sqrt((outline**2).sum(1)).max())
            gap, distance = rng.uniform(*SPREAD), clearance(outline + anchor, way, step, corners[:count])
            spot = anchor + way * distance * gap
            if overlaps(outline + spot, corners[:count]):
                spot = anchor + way * distance
        spots.append((float(spot[0]), float(spot[1])))
        corners[count] = outline + spot
    return spots


def _outline(things: list[Thing], index: int) -> np.ndarray:
    """Return the corners of a thing's footprint around its base, float64 (4, 2)."""
    (x1, y1), (x2, y2) = bounds_of(things, index)[:, :2]
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    yaw = things[index].yaw
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([corners[:, 0] * cos - corners[:, 1] * sin, corners[:, 0] * sin + corners[:, 1] * cos], 1)


@numba.njit(cache=True)
def _extent(corners, x, y):
    """Return the lowest and highest product of the corners (4, 2) of a rectangle with a vector."""
    low = high = corners[0, 0] * x + corners[0, 1] * y
    for i in range(1, 4):
        along = corners[i, 0] * x + corners[i, 1] * y
        low, high = min(low, along), max(high, along)
    return low, high


@numba.njit(cache=True)
def overlaps(first: np.ndarray, others: np.ndarray) -> bool:
    """Return whether a rectangle (4, 2) overlaps any of several (N, 4, 2), by the axes that may separate two."""
    for n in range(len(others)):
        apart = False
        for corners in (first, others[n]):
            for side in range(2):
                x, y = corners[side + 1, 0] - corners[side, 0], corners[side + 1, 1] - corners[side, 1]
                (a1, a2), (b1, b2) = _extent(first, x, y), _extent(others[n], x, y)
                apart = apart or a2 <= b1 or b2 <= a1
        if not apart:
            return True
    return False


@numba.njit(cache=True)
def clearance(outline: np.ndarray, way: np.ndarray, step: float, others: np.ndarray) -> float:
    """Return how far a rectangle must move to overlap no other, in quarters of a step.

    Args:
        outline: corners of the rectangle (4, 2), in metres.
        way: direction, a unit vector (2,).
        step: length of a step in metres.
        others: rectangles that are in the way, as for :func:`overlaps`.
    """
    distance = step
    while overlaps(outline + way * distance, others):
        distance += 0.25 * step
    return distance
