"""Which queries a report pictures, and their pictures, small enough for one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.evaluation.methods import Line
from vg_gym.evaluation.pairs import ALL
from vg_gym.types import Sample

SAMPLES = 12
"""Evenly spaced queries that are pictured with every method's box."""
CASES, CASES_OF_A_KIND = 6, 3
"""Worst, and typical, queries of a method that are pictured: of all, and of each kind."""
SIDES = (320, 224, 160, 112)
"""Pixels of the longer side of a picture: the first with which all pictures fit."""
QUALITY = 82
"""Of JPEG."""


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """At most so many indices below a count.

    >>> evenly_spaced(10, 4), evenly_spaced(2, 4)
    ([0, 2, 5, 7], [0, 1])
    """
    return [int(i * count / wanted) for i in range(wanted)] if count > wanted else list(range(count))


def pick_cases(ious: np.ndarray, kinds: Sequence[str], images: Sequence[Any]) -> dict[str, dict[str, list[int]]]:
    """The worst and the most typical queries of a method: ``{"worst": {kind: indices}, "typical": ...}``.

    The worst have the lowest IoUs, the most typical those nearest to the median. Images differ as far as they can.

    Args:
        ious: (N,) of the method.
        kinds: N kinds of expression; the key :data:`~vg_gym.evaluation.pairs.ALL` is of all.
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
    """The first of some indices, each of another image; others where there are too few images."""
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


def pictured(sample: Sample, lines: Sequence[Line], ious: Sequence[float]) -> dict[str, Any]:
    """A query as a page draws it.

    Args:
        sample: of the query.
        lines: of every method, which have its boxes and paths, in pixels.
        ious: of every method.
    """
    return {
        "text": sample.query.expression,
        "kind": sample.kind,
        "truth": _rounded(sample.box),
        "boxes": [None if line["box"] is None else _rounded(line["box"]) for line in lines],
        "paths": [_path(line.get("trajectory")) for line in lines],
        "ious": [round(iou, 3) for iou in ious],
        "why": [line.get("failure") for line in lines],
    }


def _rounded(box: Any) -> list[float]:
    return [round(float(x), 1) for x in box]


def _path(boxes: Any) -> list[list[float]]:
    """The boxes (T, 4) of a path, without those that only wait, and without what is no box: methods are anybody's."""
    found: list[list[float]] = []
    for box in boxes or ():
        if np.shape(box) == (4,) and np.isfinite(box).all() and (not found or _rounded(box) != found[-1]):
            found.append(_rounded(box))
    return found


class Thumbnails:
    """Pictures of samples, each image once, as data URIs that fit in some bytes together.

    Args:
        samples: what is pictured; an image that cannot be read is in :attr:`lost`.
    """

    def __init__(self, samples: Iterable[Sample]):
        self.sizes: dict[str, tuple[int, int]] = {}
        """Key of an image -> its (width, height)."""
        self.lost: dict[str, str] = {}
        """Key of an image -> why it is not there."""
        self._images: dict[str, Image.Image] = {}
        for image in (sample.query.image for sample in samples):
            if image.key in self.sizes or image.key in self.lost:
                continue
            try:
                whole = Image.fromarray(image.array())
            except Exception as error:  # an image may be anybody's
                self.lost[image.key] = f"{type(error).__name__}: {error}"
                continue
            self.sizes[image.key] = whole.size
            self._images[image.key] = _reduced(whole, SIDES[0])

    def uris(self, budget: int) -> dict[str, str]:
        """Key of an image -> a data URI of JPEG, as large as fits; the last are left out, as lost, if none does.

        Args:
            budget: bytes of all URIs.
        """
        for side in SIDES:
            found = {key: _uri(_reduced(image, side)) for key, image in self._images.items()}
            if sum(map(len, found.values())) <= budget:
                return found
        kept: dict[str, str] = {}
        for key, uri in found.items():
            budget -= len(uri)
            if budget < 0:
                self.lost[key] = "left out, to keep this page small"
            else:
                kept[key] = uri
        return kept


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """An image whose longer side is at most so long."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BOX)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
