"""Choice of the queries that a report shows, and thumbnails of their images that fit in one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.evaluation.lines import Line, boxes_in, says_nothing
from vg_gym.evaluation.paired import ALL
from vg_gym.types import Sample

SAMPLES = 12
"""Number of evenly spaced queries that are shown with the box of every method."""
CASES, CASES_OF_A_KIND = 6, 3
"""Number of worst and of typical queries that are shown for a method: of all queries, and of each kind."""
SIDES = (320, 224, 160, 112)
"""Longer side of a thumbnail in pixels. The first size with which all thumbnails fit is used."""
JPEG_QUALITY = 82
"""Quality of the JPEG thumbnails, 0 to 95."""


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most ``most`` evenly spaced indices below ``count``.

    >>> evenly_spaced(10, 4), evenly_spaced(2, 4)
    ([0, 2, 5, 7], [0, 1])
    """
    return [int(i * count / most) for i in range(most)] if count > most else list(range(count))


def pick_cases(ious: np.ndarray, kinds: Sequence[str], images: Sequence[Any]) -> dict[str, dict[str, list[int]]]:
    """Return the worst and the most typical queries of a method: ``{"worst": {kind: indices}, "typical": ...}``.

    The worst queries have the lowest IoUs, the most typical ones the IoUs nearest to the median. They are of different
    images where there are enough.

    Args:
        ious: IoUs of the method, (N,).
        kinds: N kinds of expression. In the result the key :data:`~vg_gym.evaluation.paired.ALL` stands for all kinds.
        images: N images.
    """
    labels = np.asarray(kinds)
    parts = {ALL: np.arange(len(ious)), **{kind: np.flatnonzero(labels == kind) for kind in sorted(set(kinds) - {""})}}
    worst, typical = {}, {}
    for kind, part in parts.items():
        count, values = CASES if kind == ALL else CASES_OF_A_KIND, ious[part]
        worst[kind] = _first(part[np.argsort(values, kind="stable")], images, count)
        distance = np.abs(values - np.median(values))
        typical[kind] = _first(part[np.argsort(distance, kind="stable")], images, count)
    return {"worst": worst, "typical": typical}


def _first(order: Iterable[int], images: Sequence[Any], count: int) -> list[int]:
    """Return the first ``count`` indices of different images; with too few images, repeat images."""
    fresh: dict[Any, int] = {}
    again = []
    for index in map(int, order):
        if images[index] in fresh:
            again.append(index)
        else:
            fresh[images[index]] = index
        if len(fresh) == count:
            break
    return [*fresh.values(), *again][:count]


def pictured(sample: Sample, lines: Sequence[Line], ious: Sequence[float], f1: Sequence[float] = ()) -> dict[str, Any]:
    """Return the data with which a page draws a query.

    Args:
        sample: sample of the query.
        lines: line of every method, with its boxes and path in pixels.
        ious: IoU of every method; NaN without exactly one true box.
        f1: F1 of the boxes of every method, for data with empty or multiple targets.
    """
    return {
        "text": sample.query.expression,
        "kind": sample.kind,
        "truth": [_rounded(box) for box in sample.boxes],
        "boxes": [
            None if line["box"] is None and not says_nothing(line) else [_rounded(box) for box in boxes_in(line)]
            for line in lines
        ],
        "paths": [_path(line.get("trajectory")) for line in lines],
        "ious": [None if np.isnan(iou) else round(iou, 3) for iou in ious],
        **({"f1": [round(value, 3) for value in f1]} if len(f1) else {}),
        "why": [line.get("failure") for line in lines],
    }


def _rounded(box: Any) -> list[float]:
    return [round(float(x), 1) for x in box]


def _path(boxes: Any) -> list[list[float]]:
    """Return the boxes (T, 4) of a path without repetitions and without invalid values from third-party methods."""
    path: list[list[float]] = []
    for box in boxes or ():
        if np.shape(box) == (4,) and np.isfinite(box).all() and (not path or _rounded(box) != path[-1]):
            path.append(_rounded(box))
    return path


class Thumbnails:
    """Thumbnails of the images of samples, as data URIs with a limited total size. Each image occurs once.

    Args:
        samples: samples whose images are shown. Images that cannot be read are in :attr:`lost`.
    """

    def __init__(self, samples: Iterable[Sample]):
        self.sizes: dict[str, tuple[int, int]] = {}
        """Key of an image -> its (width, height)."""
        self.lost: dict[str, str] = {}
        """Key of an image -> reason of its missing thumbnail."""
        self._images: dict[str, Image.Image] = {}
        for image in (sample.query.image for sample in samples):
            if image.key in self.sizes or image.key in self.lost:
                continue
            try:
                whole = Image.fromarray(image.array())
            except Exception as error:  # images of other data sets may fail in any way
                self.lost[image.key] = f"{type(error).__name__}: {error}"
                continue
            self.sizes[image.key] = whole.size
            self._images[image.key] = _reduced(whole, SIDES[0])

    def uris(self, budget: int) -> dict[str, str]:
        """Return JPEG data URIs by the key of the image, in the largest size with which all fit.

        If even the smallest size is too large, the last images are left out and added to :attr:`lost`.

        Args:
            budget: largest total size of the URIs in bytes.
        """
        for side in SIDES:
            uris = {key: _uri(_reduced(image, side)) for key, image in self._images.items()}
            if sum(map(len, uris.values())) <= budget:
                return uris
        fitting: dict[str, str] = {}
        for key, uri in uris.items():
            budget -= len(uri)
            if budget < 0:
                self.lost[key] = "left out, to keep this page small"
            else:
                fitting[key] = uri
        return fitting


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """Return an image reduced so that its longer side is at most ``side`` pixels."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
