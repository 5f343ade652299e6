"""Extraction of points from texts of Molmo2, ``<points coords="1 1 435 678 2 102 040">boats</points>``.

``coords`` is the number of an image followed by triples: number of the point, x and y in thousandths of the image's
sides. Several images are separated by a tab, a colon, a comma or a semicolon. Source: the code for images in the model
card, https://huggingface.co/allenai/Molmo2-8B.
"""

from __future__ import annotations

import re

from vg_gym.language_models.reasoning import answer_part

SPAN = 1000
"""Largest coordinate of a point."""
_TAG = re.compile(r"<points\b[^<>]*?\bcoords=\"([\d\t:;, .]+)\"")
_TRIPLE = re.compile(r"\d+ (\d{1,4}) (\d{1,4})(?: |$)")


def find_points(text: str) -> list[list[float]]:
    """Return the points (x, y) of the first image in a text, in thousandths, in the order of the text.

    Points outside the image, in other attributes or without the number of an image are not read.

    >>> find_points('<points coords="1 1 435 678 2 102 040">boats</points>')
    [[435.0, 678.0], [102.0, 40.0]]
    >>> find_points("There are none.")
    []
    """
    points: list[list[float]] = []
    for coords in _TAG.findall(answer_part(text)):
        for group in re.split(r"[\t:;,]", coords):
            image, _, triples = group.strip().partition(" ")
            if image == "1":
                points += [[float(x), float(y)] for x, y in _TRIPLE.findall(triples)]
    return [point for point in points if max(point) <= SPAN]
