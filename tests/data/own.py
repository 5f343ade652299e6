"""Files of one's own data, written for tests."""

import json

import numpy as np
from PIL import Image


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_images(folder, count=3, size=(64, 48)):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def rows(count=6, **more):
    """Rows on three images, with boxes of the left half."""
    return [
        {"image": f"images/{i % 3}.png", "expression": f"the thing number {i}", "box": [0, 0, 32, 48], **more}
        for i in range(count)
    ]
