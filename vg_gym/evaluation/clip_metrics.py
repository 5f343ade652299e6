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
CHUNKS = 4
"""Batches of the encoder whose crops are in memory together."""


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
    step = CHUNKS * clip.batch_size
    prompt = "the {}" if clip.words else "a photo of a {}"
    names = clip.encode_text([prompt.format(name) for name in categories])
    pairs, named = [], []
    for at in range(0, len(boxes), step):
        part = samples[at : at + step]
        crops = clip.encode_crops(_crops(part, boxes[at : at + step]))
        pairs.append(metrics.embedding_metrics(clip.encode_text([s.query.expression for s in part]), crops))
        known = [i for i, sample in enumerate(part) if sample.category in categories]
        true = np.array([categories.index(part[i].category) for i in known], int)
        if known:
            named.append(metrics.named(crops[known], names, true))
    found = {name: float(np.concatenate([pair[name] for pair in pairs]).mean()) for name in pairs[0]}
    return {**found, "grounding_accuracy": float(np.concatenate(named).mean()) if named else None}


def _crops(samples: Sequence[Sample], boxes: np.ndarray) -> list[np.ndarray]:
    """The boxes cut out; samples of an image follow each other, so that it is decoded once."""
    found, key = [], None
    for sample, box in zip(samples, boxes, strict=True):
        image = sample.query.image
        if image.key != key:
            key, pixels = image.key, image.array()
        found.append(crop(pixels, box))
    return found
