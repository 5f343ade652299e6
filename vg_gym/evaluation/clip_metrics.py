"""CLIP on the crops of predicted boxes: metrics that need no true box, and whether it names the target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.evaluation import metrics
from vg_gym.types import Sample

NAMES = ("cosine", "euclidean", "dot", "grounding_accuracy")
"""The metrics of :func:`clip_metrics`."""


def clip_metrics(
    clip: ClipEncoder, samples: Sequence[Sample], boxes: np.ndarray, categories: Sequence[str]
) -> dict[str, float | None]:
    """Metrics of the crops of boxes, by the names in :data:`NAMES`.

    Args:
        clip: encodes crops, expressions and names.
        samples: N samples.
        boxes: (N, 4) pixels, one per sample.
        categories: all category names of the data set, among which the target's is to be found; targets of none are
            left out of ``grounding_accuracy``, which is None where all are.
    """
    crops = clip.encode_crops(_crops(samples, boxes))
    texts = clip.encode_text([sample.query.expression for sample in samples])
    return {
        **metrics.embedding_metrics(texts, crops),
        "grounding_accuracy": _naming_accuracy(clip, crops, [sample.category for sample in samples], categories),
    }


def _naming_accuracy(
    clip: ClipEncoder, crops: np.ndarray, named: Sequence[str], categories: Sequence[str]
) -> float | None:
    """Over the targets whose category is known; None where none is."""
    known = [i for i, name in enumerate(named) if name in categories]
    if not known:
        return None
    prompt = "the {}" if clip.words else "a photo of a {}"
    names = clip.encode_text([prompt.format(name) for name in categories])
    return metrics.naming_accuracy(crops[known], names, np.array([categories.index(named[i]) for i in known]))


def _crops(samples: Sequence[Sample], boxes: np.ndarray) -> list[np.ndarray]:
    """The boxes cut out; samples of an image follow each other, so that it is decoded once."""
    found, key = [], None
    for sample, box in zip(samples, boxes, strict=True):
        image = sample.query.image
        if image.key != key:
            key, pixels = image.key, image.array()
        found.append(crop(pixels, box))
    return found
