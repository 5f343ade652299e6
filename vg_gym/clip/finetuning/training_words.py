"""Vocabulary of a CLIP that is trained from scratch: the words of its training texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from vg_gym.clip.finetuning.scene_statements import described
from vg_gym.clip.tokenizer import WORD
from vg_gym.data.worlds.refscenes.chunks import labels_of
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.errors import VGGymError
from vg_gym.types import GroundingDataset

MAX_EXPRESSIONS = 50_000
"""Number of expressions whose words are counted, from the start of the training split."""
MAX_SCENES = 1500
"""Number of scenes of RefScenes whose expressions and statements are counted."""


def training_words(dataset: GroundingDataset, min_count: int) -> list[str]:
    """Return the vocabulary of a training split: the frequent words of its texts, or RefShapes' whole language.

    Raises:
        VGGymError: no word is frequent enough.
    """
    if isinstance(dataset, RefShapes):
        return list(vocabulary())
    words = frequent_words(_texts(dataset), min_count)
    if not words:
        raise VGGymError(f"min_count={min_count}: no word of {dataset.name}/{dataset.split} is so frequent; lower it")
    return words


def _texts(dataset: GroundingDataset) -> Iterator[str]:
    if not isinstance(dataset, RefScenes):
        yield from (dataset[row].query.expression for row in range(min(len(dataset), MAX_EXPRESSIONS)))
        return
    for record in map(dataset.record, range(min(dataset.scenes, MAX_SCENES))):
        yield from (text for text, _, _ in labels_of(record).expressions)
        yield from (statement.text for statement in described(record).statements)


def frequent_words(texts: Iterable[str], min_count: int) -> list[str]:
    """Return the words that occur at least ``min_count`` times, sorted.

    >>> frequent_words(["the red mug", "a red dgo", "the dog"], 2)
    ['red', 'the']
    """
    counts = Counter(word for text in texts for word in re.findall(WORD, text.lower()))
    return sorted(word for word, count in counts.items() if count >= min_count)
