"""Example of a user-defined grounder and data set.

Commands, to be run in this folder:

    vg-gym evaluate --methods own_method:ColorGrounder,clip-window --dataset refshapes --limit 100 --out results/own
    vg-gym evaluate --methods own_method:ColorGrounder --dataset own_method:Squares --out results/squares
    vg-gym evaluate --plugins own_method --methods color --dataset squares --out results/named color.tolerance=40
    vg-gym ground photo.png "the red square" --method own_method:ColorGrounder
    vg-gym train agent dataset=own_method:Squares initial_box=own_method:ColorGrounder clip=refshapes minutes=1

In Python: ``gymnasium.make("RefShapes-Ground-v0", initial_box="own_method:ColorGrounder")``. An installed
package can register the names in its ``pyproject.toml``, which makes ``--plugins`` unnecessary:

    [project.entry-points."vg_gym.grounders"]
    color = "own_method:ColorGrounder"
    [project.entry-points."vg_gym.datasets"]
    squares = "own_method:Squares"
"""

from collections.abc import Sequence

import numpy as np
from PIL import ImageColor

from vg_gym import registry
from vg_gym.data.images import ArrayImage
from vg_gym.errors import unknown
from vg_gym.types import Objects, Prediction, Query, Sample, refuse_initial_boxes

COLORS = ("red", "green", "blue", "yellow", "orange", "purple", "cyan", "magenta")
"""Colors of the grounder and the data set."""
SPLITS = ("train", "val", "test")
"""Splits of the data set."""


class ColorGrounder:
    """Grounder that returns the box around all pixels near the first color in the expression.

    Without a color in the expression it returns the whole image.

    Args:
        tolerance: largest distance from the color in each channel, 0 to 255.
    """

    name = "color"

    def __init__(self, tolerance: int = 90):
        self.tolerance = tolerance

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return a box for each query."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [Prediction(self._box(query.image.array(), query.expression)) for query in queries]

    def _box(self, pixels: np.ndarray, expression: str) -> np.ndarray:
        height, width = pixels.shape[:2]
        named = next((word for word in expression.split() if word in COLORS), None)
        if named:
            away = np.abs(pixels.astype(int) - ImageColor.getrgb(named)).max(axis=-1)
            rows, columns = np.nonzero(away <= self.tolerance)
            if len(rows):
                return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float32)
        return np.array([0, 0, width, height], dtype=np.float32)


class Squares:
    """Data set of images with two squares in two colors. Samples depend only on the split and the index.

    Args:
        name: name with which the data set is opened.
        split: one of :data:`SPLITS`, which have different images.
        root: unused.
        images: number of images; each has two expressions.
    """

    def __init__(self, name: str, split: str, root: str | None = None, images: int = 50):
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        self.name, self.split, self.images = "squares", split, images
        self.categories = ("square",)

    def __len__(self) -> int:
        """Return the number of expressions."""
        return 2 * self.images

    def __getitem__(self, index: int) -> Sample:
        """Return the sample of one expression; an index beyond the end raises IndexError, as in a list."""
        image, which = divmod(range(len(self))[index], 2)
        pixels, boxes, colors = self._draw(image)
        key = f"squares/{self.split}/{image}"
        query = Query(ArrayImage(pixels, key), f"the {colors[which]} square", f"{key}/{which}")
        return Sample(query, boxes[which], "square", index, 2 * image + which, index, image, self.split)

    def objects(self, image_id: int) -> Objects:
        """Return both squares of an image."""
        return Objects(self._draw(image_id)[1], ("square", "square"), (2 * image_id, 2 * image_id + 1))

    def _draw(self, image: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        rng = np.random.default_rng([SPLITS.index(self.split), image])
        pixels = np.full((96, 128, 3), 255, dtype=np.uint8)
        colors = [COLORS[i] for i in rng.choice(len(COLORS), 2, replace=False)]
        boxes = np.zeros((2, 4), dtype=np.float32)
        for row, (color, offset) in enumerate(zip(colors, (0, 64), strict=True)):
            side = rng.integers(16, 40)
            x, y = offset + rng.integers(0, 64 - side), rng.integers(0, 96 - side)
            pixels[y : y + side, x : x + side] = ImageColor.getrgb(color)
            boxes[row] = x, y, x + side, y + side
        return pixels, boxes, colors


registry.register_grounder("color", "own_method:ColorGrounder", summary="pixels of the color that is named")
registry.register_dataset("squares", "own_method:Squares", summary="two squares", splits=SPLITS)
