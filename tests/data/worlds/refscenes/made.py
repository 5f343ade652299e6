"""Random scenes with a truth of their own, without the renderer: boxes of cuboids that a pinhole camera sees."""

import numpy as np

from vg_gym.data.worlds.refscenes.kinds import COLORS, KINDS, is_held_out
from vg_gym.data.worlds.refscenes.scene import Backdrop, Camera, Light, Part, Photometry, Scene, Thing, Truth

WIDTH, HEIGHT = 256, 192
HEIGHTS = {"house": 2.0, "tree": 2.0, "boat": 1.8, "giraffe": 2.0, "elephant": 1.8, "bus": 1.6, "truck": 1.6}
"""Heights in metres that fit a small stage."""


def thing(kind, rng, position, **known):
    """A thing of random looks."""
    words = KINDS[kind]
    colors = [color for color in words.colors if not is_held_out(kind, color)]
    main = Part(words.main, str(rng.choice(colors)), str(rng.choice(words.patterns)))
    if kind == "person":
        names = ["trousers", "hair", "shoes"] + ["hat"] * (rng.random() < 0.4)
    else:
        names = [name for name in words.parts if rng.random() < 0.6]
    parts = (main, *(Part(name, str(rng.choice(list(COLORS)))) for name in names))
    height = HEIGHTS.get(kind, max(words.height_m, 0.5)) * rng.uniform(0.7, 1.3)
    looks = {"pose": str(rng.choice(words.poses)), "variant": str(rng.choice(words.variants)), **known}
    return Thing(kind, parts, 1.0, height, position, float(rng.uniform(0, 6.28)), **looks)


def made_scene(seed):
    """A scene and its truth."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(KINDS), size=int(rng.integers(2, 5)), replace=False)
    if rng.random() < 0.5:
        kinds = [*kinds[:2], "person"]
    things = []
    for _ in range(int(rng.integers(4, 13))):
        place = (float(rng.uniform(-2.6, 2.6)), float(rng.uniform(-1.6, 3)), 0.0)
        if all(np.hypot(place[0] - t.position[0], place[1] - t.position[1]) > 0.7 for t in things):
            things.append(thing(str(rng.choice(kinds)), rng, place))
    for i, each in enumerate(things[:]):
        if KINDS[each.kind].supports and rng.random() < 0.5:
            top = (each.position[0], each.position[1], each.height_m * 0.6)
            pose = "sitting" if each.kind in ("chair", "bench") else ""
            kind = "person" if pose else str(rng.choice(["mug", "book", "apple"]))
            things.append(thing(kind, rng, top, support=i, pose=pose))
        elif each.kind == "person" and rng.random() < 0.4:
            held = (each.position[0] + 0.2, each.position[1] - 0.1, 0.8)
            things.append(thing(str(rng.choice(["ball", "umbrella", "book"])), rng, held))
            things[i] = Thing(**{**vars(each), "holds": len(things) - 1})
    dark, bright = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    backdrop = Backdrop("grass", (dark, bright), None, (dark, bright), texture=0.5, grain_m=1.0, fog_m=50.0)
    light = Light((0, -1, 1), strength=1.0, ambient=0.5)
    scene = Scene(tuple(things), Camera((0, -6, 1.9), (0, 0, 0.5), 1.1), light, backdrop, Photometry(), WIDTH, HEIGHT)
    return scene, truth_of(scene)


def truth_of(scene):
    """The truth of cuboids that hide each other by distance."""
    segments = np.zeros((HEIGHT, WIDTH), np.uint8)
    boxes, whole, depth = [], [], np.array([each.position[1] + 6 for each in scene.things], np.float32)
    for each, away in zip(scene.things, depth, strict=True):
        scale = 1.1 * WIDTH / away
        x, foot = WIDTH / 2 + scale * each.position[0], HEIGHT / 2 + scale * (1.3 - each.position[2])
        half, tall = scale * 0.28, scale * each.height_m * 0.8
        boxes.append([x - half, foot - tall, x + half, foot])
        whole.append(4 * half * tall / 2)
    for i in np.argsort(-depth):
        x1, y1, x2, y2 = np.clip(boxes[i], 0, [WIDTH, HEIGHT] * 2).astype(int)
        segments[y1:y2, x1:x2] = i + 1
    counts = np.bincount(segments.ravel(), minlength=len(boxes) + 1)[1:]
    visible = np.minimum(counts / np.maximum(whole, 1), 1)
    clipped = np.zeros((len(boxes), 4), np.float32)
    for i in np.flatnonzero(counts):
        rows, columns = np.nonzero(segments == i + 1)
        clipped[i] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    parts = tuple(
        {part.name: int(count / len(each.parts)) for part in each.parts if count}
        for each, count in zip(scene.things, counts, strict=True)
    )
    return Truth(clipped, visible.astype(np.float32), depth, parts, segments)
