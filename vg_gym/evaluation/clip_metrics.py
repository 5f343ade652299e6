"""CLIP metrics of the crops of predicted boxes; they need no true box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.evaluation import metrics
from vg_gym.types import Sample

NAMES = ("cosine", "euclidean", "dot", "grounding_accuracy")
"""Names of the metrics of :func:`clip_metrics`."""
BATCHES_IN_MEMORY = 4
"""Number of encoder batches whose crops are in memory at the same time."""


def clip_metrics(
    clip: ClipEncoder, samples: Sequence[Sample], boxes: np.ndarray, categories: Sequence[str]
) -> dict[str, float | None]:
    """Return the metrics of the crops of boxes, by the names in :data:`NAMES`.

    Args:
        clip: encoder of crops, expressions and names.
        samples: N samples.
        boxes: one box per sample, pixels (N, 4).
        categories: all category names of the data set. CLIP chooses one of them for each crop, and
            ``grounding_accuracy`` is the share of correct choices. Targets without a category are not counted; without
            any category it is None.
    """
    step = BATCHES_IN_MEMORY * clip.batch_size
    prompt = "the {}" if clip.words else "a photo of a {}"
    names = clip.encode_text([prompt.format(name) for name in categories])
    pairs, named = [], []
    for at in range(0, len(boxes), step):
        part = samples[at : at + step]
        crops = clip.encode_crops(_crops(part, boxes[at : at + step]))
        pairs.append(metrics.embedding_metrics(clip.encode_text([s.query.expression for s in part]), crops))
        labeled = [i for i, sample in enumerate(part) if sample.category in categories]
        true = np.array([categories.index(part[i].category) for i in labeled], int)
        if labeled:
            named.append(metrics.named(crops[labeled], names, true))
    means = {name: float(np.concatenate([pair[name] for pair in pairs]).mean()) for name in pairs[0]}
    return {**means, "grounding_accuracy": float(np.concatenate(named).mean()) if named else None}


def _crops(samples: Sequence[Sample], boxes: np.ndarray) -> list[np.ndarray]:
    """Return the crops of boxes. Each image is decoded once, since samples of an image follow each other."""
    crops, key = [], None
    for sample, box in zip(samples, boxes, strict=True):
        image = sample.query.image
        if image.key != key:
            key, pixels = image.key, image.array()
        crops.append(crop(pixels, box))
    return crops
