"""Words that the built-in CLIP does not know, and the warning about them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from vg_gym.clip.loader import load_clip
from vg_gym.data.worlds.refshapes.expressions import ANY_SHAPE
from vg_gym.data.worlds.refshapes.scenes import SHAPES
from vg_gym.registry.photographs import DRAWN_CLIP, PUBLISHED_CLIP, WORLDS, is_drawn
from vg_gym.types import GroundingDataset, Query, Sample

ARTICLES = {"a", "an", "the"}
"""Words without visual content."""
MAX_READ = 200
"""Maximum number of expressions of a data set that are read for the warning."""
MAX_COMPOSED = 8
"""The same for a built-in world, whose scenes are composed when they are read."""
SHAPES_WORLD = f"{WORLDS}refshapes."
"""Beginning of the modules of RefShapes, all of whose words the built-in weights know."""
MAX_NAMED = 8
"""Maximum number of unknown words in the warning."""
_warned: set[str] = set()
"""Data sets whose words were warned of in this process."""


def unknown_words(text: str) -> list[str]:
    """Return the words of a text that are not in the vocabulary of the built-in CLIP.

    The CLIP rewords synonyms ("find a circle which is red"). A word that it turns into the name of a shape, such as
    "donut" or "one", may mean anything in a photograph and counts as unknown.
    """
    reworded = load_clip(DRAWN_CLIP).reword(text).lower()
    says_more = any(noun in reworded.split() and noun not in text.lower() for noun in (*SHAPES, ANY_SHAPE))
    words = re.findall(r"[a-z0-9]+", text.lower() if says_more else reworded)
    return [word for word in words if word not in _known_words()]


@lru_cache
def _known_words() -> frozenset[str]:
    """Return the vocabulary of the built-in CLIP, loaded once, and articles."""
    return frozenset(ARTICLES.union(load_clip(DRAWN_CLIP).words or ()))


def warn_of_unknown_words(who: str, expressions: Iterable[str], advice: str, stacklevel: int = 3) -> bool:
    """Warn if expressions have words that the built-in weights do not know, and return whether they do.

    Args:
        who: methods with built-in weights.
        expressions: expressions that they read.
        advice: end of the warning, which names the remedy.
        stacklevel: see ``warnings.warn``.
    """
    words = list(dict.fromkeys(word for text in expressions for word in unknown_words(text)))
    if words:
        named = ", ".join(words[:MAX_NAMED]) + (f" and {len(words) - MAX_NAMED} more" if words[MAX_NAMED:] else "")
        warnings.warn(
            f"{who} with its built-in weights knows drawn shapes only, and not the words: {named}. {advice}",
            stacklevel=stacklevel,
        )
    return bool(words)


def warn_of_dataset(
    who: Sequence[str], dataset: str, samples: GroundingDataset | Sequence[Sample] | Sequence[Query]
) -> None:
    """Warn once per data set of words that built-in weights do not know; RefShapes has none.

    Args:
        who: methods and CLIPs with built-in weights; without any the function does not warn.
        dataset: name of the data set.
        samples: its samples; at most :data:`MAX_READ`, evenly spaced, or the first :data:`MAX_COMPOSED` of a built-in
            world are read.
    """
    module = type(samples).__module__
    if not who or dataset in _warned or module.startswith(SHAPES_WORLD):
        return
    if is_drawn(dataset) or module.startswith(WORLDS):
        rows = np.arange(min(len(samples), MAX_COMPOSED))
    else:
        rows = np.unique(np.linspace(0, max(len(samples) - 1, 0), min(len(samples), MAX_READ)).astype(int))
    items = (samples[int(row)] for row in rows)
    texts = [item.query.expression if isinstance(item, Sample) else item.expression for item in items]
    advice = f"For other pictures use published weights, e.g. clip={PUBLISHED_CLIP}"
    if warn_of_unknown_words(", ".join(who), texts, advice, stacklevel=4):
        _warned.add(dataset)
