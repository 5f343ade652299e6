"""``vg_gym.ground``: the box that an expression means in a picture."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from vg_gym import registry
from vg_gym.clip.encoder import load_clip
from vg_gym.data.expressions import ANY_SHAPE
from vg_gym.data.images import ArrayImage
from vg_gym.data.scenes import SHAPES
from vg_gym.errors import VGGymError
from vg_gym.pictures.found import Found
from vg_gym.pictures.sources import picture
from vg_gym.storage.files import place_mark
from vg_gym.types import Grounder, Query

DRAWN = ("agent:refshapes", "refshapes")
"""Method and CLIP where all words are those of the built-in CLIP, which knows drawn shapes only."""
PHOTOGRAPHS = ("yolo-clip", "ViT-B-32:openai")
"""Method and CLIP for all else: published weights, which are fetched."""
BATCH = 32
"""Pictures that are decoded, and answered, at a time."""
ARTICLES = {"a", "an", "the"}
"""Words that mean nothing to look for."""
KEPT = 4
"""Methods that stay in memory for the next call."""


def ground(
    image: Any, expression: str | Sequence[str], method: str | None = None, clip: str | None = None, **options: Any
) -> Any:
    """The box that an expression means in a picture; a list of them where several pictures or expressions are given.

    Args:
        image: a path, a Pillow image, a uint8 array (H, W, 3), or a list of these.
        expression: what is meant, e.g. "the man in the yellow coat", or a list: one for each picture, or several
            for the one picture.
        method: name of a grounder (``vg_gym.registry.list_grounders()``). Default: the built-in agent where the
            built-in CLIP knows all words, which are those of drawn shapes; else YOLO and CLIP with published weights.
        clip: name of a CLIP, for methods that take one.
        **options: of the method, e.g. ``weights``.

    Raises:
        VGGymError: a picture cannot be read, an expression is empty, the method is unknown, or weights are missing.
    """
    several_images = isinstance(image, (list, tuple))
    several_texts = not isinstance(expression, str)
    images = list(image) if several_images else [image]
    texts = [expression] * len(images) if isinstance(expression, str) else list(expression)
    if not several_images:
        images = images * len(texts)
    if len(images) != len(texts):
        raise VGGymError(f"{len(images)} pictures and {len(texts)} expressions: give one of one kind, or as many")
    found = []
    for answer in ground_each(images, texts, method, clip, **options):
        if isinstance(answer, VGGymError):
            raise answer
        found.append(answer)
    return found if several_images or several_texts else found[0]


def ground_each(
    images: Sequence[Any], expressions: Sequence[str], method: str | None = None, clip: str | None = None,
    **options: Any,
) -> Iterator[Found | VGGymError]:  # fmt: skip
    """Answers one after the other; a picture that cannot be read is an error in its place, and the rest go on.

    Args:
        images: paths, Pillow images or arrays.
        expressions: one for each.
        method: see :func:`ground`.
        clip: see :func:`ground`.
        **options: of the method.

    Raises:
        VGGymError: an expression is empty, the method is unknown, or weights are missing.
    """
    for text in expressions:
        if not text.strip():
            raise VGGymError("the expression is empty: say in a few words what is meant")
    name, encoder = chosen(method, clip, expressions)
    files = (name.partition(":")[2], encoder, encoder.partition(":")[2], *map(str, options.values()))
    grounder = _grounder(name, encoder, tuple(sorted(options.items())), place_mark(*files))
    _warn_of_unknown(name, encoder, expressions, options)
    for at in range(0, len(images), BATCH):
        read = [_read(source) for source in images[at : at + BATCH]]
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
            said = answers[row]
            box = np.asarray(said.box, np.float32)
            yield Found(box, said.score, texts[row], name, encoder, image, source, said.details, seconds)


def chosen(method: str | None, clip: str | None, expressions: Sequence[str]) -> tuple[str, str]:
    """The method that answers, and the CLIP that it is given, empty where it takes none."""
    drawn = not any(unknown_words(text) for text in expressions)
    by_default = DRAWN if drawn and clip in (None, DRAWN[1]) else PHOTOGRAPHS
    name = method or by_default[0]
    takes_clip = registry.grounder_spec(name).takes_clip
    return name, (clip or (DRAWN if drawn else PHOTOGRAPHS)[1]) if takes_clip else ""


def unknown_words(text: str) -> list[str]:
    """The words of a text that the built-in CLIP has never read.

    It reads other words for the same ("find a circle which is red"), but who says "donut" or "one" may mean anything.
    """
    reworded = load_clip(DRAWN[1]).reword(text).lower()
    says_more = any(noun in reworded.split() and noun not in text.lower() for noun in (*SHAPES, ANY_SHAPE))
    words = re.findall(r"[a-z0-9]+", text.lower() if says_more else reworded)
    return [word for word in words if word not in _known_words()]


@lru_cache
def _known_words() -> frozenset[str]:
    """Those of the built-in CLIP, loaded once, and articles."""
    return frozenset(ARTICLES.union(load_clip(DRAWN[1]).words or ()))


def _warn_of_unknown(name: str, clip: str, expressions: Sequence[str], options: dict[str, Any]) -> None:
    """Say so where the answer comes from weights that know drawn shapes only, and words are none of theirs."""
    spec = registry.GROUNDERS.get(name.partition(":")[0])
    if clip not in ("", DRAWN[1]) or "weights" in options or (spec is not None and spec.any_words):
        return
    unread = list(dict.fromkeys(word for text in expressions for word in unknown_words(text)))
    if unread:
        warnings.warn(
            f"{name} with its built-in weights knows drawn shapes only, and not the words: {', '.join(unread)}. For "
            f"photographs leave method out, or take method={PHOTOGRAPHS[0]!r}, clip={PHOTOGRAPHS[1]!r}",
            stacklevel=3,
        )


@lru_cache(KEPT)
def _grounder(name: str, clip: str, options: tuple[tuple[str, Any], ...], mark: str) -> Grounder:
    """A method, built once for each state (``mark``) of its files."""
    return (
        registry.grounder_with_clip(name, clip, **dict(options)) if clip else registry.grounder(name, **dict(options))
    )


def _read(source: Any) -> ArrayImage | VGGymError:
    try:
        return picture(source)
    except VGGymError as error:
        return error
