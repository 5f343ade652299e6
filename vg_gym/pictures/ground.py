"""``vg_gym.ground``: find the box of an expression in a picture."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym import registry
from vg_gym.clip.known_words import unknown_words, warn_of_unknown_words
from vg_gym.data.images import ArrayImage
from vg_gym.errors import ImageError, UnknownName, VGGymError, nearest, unknown, without_scores
from vg_gym.evaluation.lines import rows_above
from vg_gym.pictures.found import Found
from vg_gym.pictures.sources import picture
from vg_gym.registry.checks import check_grounder
from vg_gym.registry.photographs import DRAWN_CLIP, PUBLISHED_CLIP, knows_drawn_only
from vg_gym.storage.files import place_mark
from vg_gym.types import Grounder, Prediction, Query

DRAWN = ("agent:refshapes", DRAWN_CLIP)
"""Default method and CLIP if the built-in CLIP, which was trained on drawn shapes, knows all words."""
PHOTOGRAPHS = ("yolo-clip", PUBLISHED_CLIP)
"""Default method and CLIP for all other expressions, with published weights that are downloaded."""
BATCH = 32
"""Number of pictures in a batch."""
ARGUMENTS = ("image", "expression", "method", "clip", "nothing_below")
"""Names of the arguments of :func:`ground` that are not options of the method."""
CACHED_METHODS = 4
"""Number of methods that stay in memory for the next call."""


def ground(
    image: Any, expression: str | Sequence[str], method: str | None = None, clip: str | None = None,
    nothing_below: float | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Find the box of an expression in a picture; return a list for several pictures or expressions.

    Args:
        image: a path, a Pillow image, a uint8 array (H, W, 3), or a list of these.
        expression: referring expression, e.g. "the man in the yellow coat"; or a list with one expression for each
            picture, or with several for one picture.
        method: name of a grounder (``vg_gym.registry.list_grounders()``). Default: the built-in agent if the built-in
            CLIP, which was trained on drawn shapes, knows all words; otherwise YOLO and CLIP with published weights.
        clip: name of a CLIP, for methods that take one.
        nothing_below: score below which the answer is that nothing fits, without any box; by default the method alone
            decides.
        **options: options of the method, e.g. ``weights``.

    Raises:
        VGGymError: a picture cannot be read, an expression is empty, the method is unknown, weights are missing, or
            ``nothing_below`` is given for a method without scores.
    """
    several_images = isinstance(image, (list, tuple))
    several_texts = not isinstance(expression, str)
    images = list(image) if several_images else [image]
    texts = [expression] * len(images) if isinstance(expression, str) else list(expression)
    if not several_images:
        images = images * len(texts)
    if len(images) != len(texts):
        raise VGGymError(f"{len(images)} pictures and {len(texts)} expressions: give one of one kind, or as many")
    for source in images:
        if isinstance(source, (str, Path)) and not Path(source).exists():
            raise ImageError(f"no such file: {source}")  # before anything is fetched
    answers = []
    for answer in ground_each(images, texts, method, clip, nothing_below, **options):
        if isinstance(answer, VGGymError):
            raise answer
        answers.append(answer)
    return answers if several_images or several_texts else answers[0]


def ground_each(
    images: Sequence[Any], expressions: Sequence[str], method: str | None = None, clip: str | None = None,
    nothing_below: float | None = None, **options: Any,
) -> Iterator[Found | VGGymError]:  # fmt: skip
    """Yield one answer after the other; for a picture that cannot be read, yield an error and continue.

    Args:
        images: paths, Pillow images or arrays.
        expressions: one expression per image.
        method: see :func:`ground`.
        clip: see :func:`ground`.
        nothing_below: see :func:`ground`.
        **options: options of the method.

    Raises:
        VGGymError: an expression is empty, the method is unknown, weights are missing, or ``nothing_below`` is given
            for a method without scores.
    """
    for text in expressions:
        if not text.strip():
            raise VGGymError("the expression is empty: say in a few words what is meant")
    first = [_read(source) for source in images[:BATCH]]
    errors = [read for read in first if isinstance(read, VGGymError)]
    if len(errors) == len(images):
        yield from errors  # without a picture no method is needed, nor its weights
        return
    name, encoder = chosen(method, clip, expressions)
    options = {**_uncompiled(name), **options}
    files = (name.partition(":")[2], encoder, encoder.partition(":")[2], *map(str, options.values()))
    _refuse_unknown(name, options)
    grounder = _grounder(name, encoder, tuple(sorted(options.items())), place_mark(*files))
    _warn_of_unknown(name, encoder, expressions, options)
    for at in range(0, len(images), BATCH):
        read = [_read(source) for source in images[at : at + BATCH]] if at else first
        rows = [row for row, picture_or_error in enumerate(read) if isinstance(picture_or_error, ArrayImage)]
        texts = expressions[at : at + BATCH]
        queries = [Query(read[row], texts[row], f"{at + row}") for row in rows]  # type: ignore[arg-type]
        start = time.perf_counter()
        answers = dict(zip(rows, grounder.ground(queries), strict=True)) if queries else {}
        seconds = (time.perf_counter() - start) / max(1, len(queries))
        for row, (source, image) in enumerate(zip(images[at : at + BATCH], read, strict=True)):
            if isinstance(image, VGGymError):
                yield image
                continue
            boxes, scores = _boxes_of(name, answers[row], nothing_below)
            score, details = answers[row].score, answers[row].details
            yield Found(boxes, scores, score, texts[row], name, encoder, image, source, details, seconds)


def _refuse_unknown(name: str, options: Mapping[str, Any]) -> None:
    """Reject options that are a misspelt argument of :func:`ground`; other unknown ones are the method's to reject."""
    for option in (option for option in options if nearest(option, ARGUMENTS)):
        try:
            check_grounder(name, {option: options[option]})
        except UnknownName:
            raise unknown("argument of ground", option, ARGUMENTS) from None


def _boxes_of(name: str, prediction: Prediction, nothing_below: float | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the boxes (m, 4) of a prediction with their scores; placeholder boxes are left out.

    Raises:
        VGGymError: there is a threshold, but no score.
    """
    boxes, scores = np.asarray(prediction.boxes, np.float32).reshape(-1, 4), prediction.scores
    rows = [] if prediction.details.get("unanswered") else list(range(len(boxes)))
    if nothing_below is not None and rows:
        if prediction.score is None:
            raise without_scores(name, nothing_below)
        rows = rows_above(nothing_below, prediction.score, () if scores is None else scores, len(boxes))
    return boxes[rows], None if scores is None else np.asarray(scores, dtype=float)[rows]


def chosen(method: str | None, clip: str | None, expressions: Sequence[str]) -> tuple[str, str]:
    """Return the names of the method and of its CLIP; the latter is empty for a method without one."""
    drawn = not any(unknown_words(text) for text in expressions)
    by_default = DRAWN if drawn and clip in (None, DRAWN[1]) else PHOTOGRAPHS
    name = method or by_default[0]
    takes_clip = registry.grounder_spec(name).takes_clip
    return name, (clip or (DRAWN if drawn else PHOTOGRAPHS)[1]) if takes_clip else ""


def _uncompiled(name: str) -> dict[str, Any]:
    """Return the options with which a method answers sooner if there are few pictures."""
    return {"compiled": False} if registry.grounder_key(name) == "agent" else {}


def _warn_of_unknown(name: str, clip: str, expressions: Sequence[str], options: dict[str, Any]) -> None:
    """Warn if the method's weights know drawn shapes only, and the expressions have other words."""
    if knows_drawn_only(name, clip, options):
        method, encoder = PHOTOGRAPHS
        advice = f"For photographs omit method, or use method={method!r}, clip={encoder!r}"
        warn_of_unknown_words(name, expressions, advice, stacklevel=4)


@lru_cache(CACHED_METHODS)
def _grounder(name: str, clip: str, options: tuple[tuple[str, Any], ...], mark: str) -> Grounder:
    """Build a method, once for each state (``mark``) of its files."""
    return (
        registry.grounder_with_clip(name, clip, **dict(options)) if clip else registry.grounder(name, **dict(options))
    )


def _read(source: Any) -> ArrayImage | VGGymError:
    try:
        return picture(source)
    except VGGymError as error:
        return error
