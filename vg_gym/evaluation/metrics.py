"""Metrics of grounding with their confidence intervals, and CLIP metrics of the crops of predicted boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vg_gym.clip.crops import crop
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.evaluation.intervals import difference_interval, mean_interval
from vg_gym.evaluation.set_metrics import corrections
from vg_gym.types import Sample

THRESHOLDS = (0.25, 0.5, 0.75, 0.9)
"""IoU thresholds of the accuracies."""
CLIP_METRICS = ("cosine", "euclidean", "dot", "grounding_accuracy")
"""Names of the metrics of :func:`clip_metrics`."""
BATCHES_IN_MEMORY = 4
"""Number of encoder batches whose crops are in memory at the same time."""


def hits(ious: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return 1.0 where an IoU reaches the threshold, else 0.0.

    >>> hits(np.array([0.2, 0.5, 0.9])).tolist()
    [0.0, 1.0, 1.0]
    """
    return (ious >= threshold).astype(float)


def accuracy(ious: np.ndarray, threshold: float) -> float:
    """Return Acc@t, the share of IoUs that reach the threshold.

    >>> accuracy(np.array([0.2, 0.5, 0.9]), 0.5)
    0.6666666666666666
    """
    return float(hits(ious, threshold).mean())


def tightness(ious: np.ndarray, threshold: float = 0.5) -> float | None:
    """Return the mean IoU of the boxes that reach the threshold; None if no box does.

    It tells how tightly boxes fit where they are on the right object.

    >>> round(tightness(np.array([0.2, 0.6, 0.8])), 3)
    0.7
    """
    hit_ious = ious[ious >= threshold]
    return float(hit_ious.mean()) if len(hit_ious) else None


def summary(ious: np.ndarray, groups: Sequence | np.ndarray, gious: np.ndarray | None = None) -> dict[str, Any]:
    """Return the columns of every row: n, accuracies, mean IoU, tightness, and intervals; None without any IoU.

    Args:
        ious: IoUs, (N,).
        groups: N image ids; with too few different ids the intervals are None.
        gious: generalised IoUs (Rezatofighi et al., 2019), (N,), for the column of their accuracy.

    >>> row = summary(np.array([0.2, 0.6]), groups=[1, 2])
    >>> row["n"], row["acc@0.5"], round(row["mean_iou"], 3)
    (2, 0.5, 0.4)
    """
    if not len(ious):
        names = [
            *(f"acc@{threshold}" for threshold in THRESHOLDS),
            "mean_iou",
            "tightness",
            "acc@0.5_ci",
            "mean_iou_ci",
        ]
        return {"n": 0, **dict.fromkeys(names), **({} if gious is None else {"giou_acc@0.5": None})}
    return {
        "n": len(ious),
        **{f"acc@{threshold}": accuracy(ious, threshold) for threshold in THRESHOLDS},
        "mean_iou": float(ious.mean()),
        "tightness": tightness(ious),
        **({} if gious is None else {"giou_acc@0.5": accuracy(gious, 0.5)}),
        "acc@0.5_ci": mean_interval(hits(ious), groups),
        "mean_iou_ci": mean_interval(ious, groups),
    }


def paired_difference(after: np.ndarray, before: np.ndarray, groups: Sequence | np.ndarray) -> dict[str, object]:
    """Return the mean of ``after - before`` with its interval over images, which is None with too few images.

    Args:
        after: values after a change, (N,).
        before: values of the same samples before it, (N,).
        groups: N image ids.

    >>> paired_difference(np.array([0.75, 0.5]), np.array([0.5, 0.25]), groups=[1, 2])
    {'mean': 0.25, 'ci': None}
    """
    difference = after - before
    ci = difference_interval(difference, groups)
    return {"mean": float(difference.mean()), "ci": None if ci is None else list(ci)}


def refinement(before: np.ndarray, after: np.ndarray, groups: Sequence | np.ndarray) -> dict[str, Any]:
    """Return the columns of a refined row: paired differences, and the answers that it made right and wrong.

    Args:
        before: IoUs before the refinement, (N,).
        after: IoUs after it, (N,).
        groups: N image ids.
    """
    return {
        "refined_by": paired_difference(after, before, groups),
        "refined_by_acc@0.5": paired_difference(hits(after), hits(before), groups),
        **corrections(before, after),
    }


def embedding_metrics(texts: np.ndarray, crops: np.ndarray) -> dict[str, np.ndarray]:
    """Return cosines, Euclidean distances and dot products (N,) of expression and crop embeddings (N, D).

    >>> embedding_metrics(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]))["cosine"].tolist()
    [0.0]
    """
    dot = np.einsum("nd,nd->n", texts, crops)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(crops, axis=1)
    return {
        "cosine": dot / np.maximum(lengths, 1e-9),
        "euclidean": np.linalg.norm(texts - crops, axis=1),
        "dot": dot,
    }


def named(crops: np.ndarray, names: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return whether the nearest category name of each crop is that of the target, bool (N,).

    The mean is grounding accuracy.

    Args:
        crops: embeddings of crops, (N, D).
        names: embeddings of category names, (C, D).
        true: indices of the targets' names, (N,).
    """
    return (crops @ names.T).argmax(axis=1) == true


def clip_metrics(
    clip: ClipEncoder, samples: Sequence[Sample], boxes: np.ndarray, categories: Sequence[str]
) -> dict[str, float | None]:
    """Return the metrics of the crops of boxes, which need no true box, by the names in :data:`CLIP_METRICS`.

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
    pairs, correct = [], []
    for at in range(0, len(boxes), step):
        part = samples[at : at + step]
        crops = clip.encode_crops(_crops(part, boxes[at : at + step]))
        pairs.append(embedding_metrics(clip.encode_text([s.query.expression for s in part]), crops))
        labeled = [i for i, sample in enumerate(part) if sample.category in categories]
        true = np.array([categories.index(part[i].category) for i in labeled], int)
        if labeled:
            correct.append(named(crops[labeled], names, true))
    means = {name: float(np.concatenate([pair[name] for pair in pairs]).mean()) for name in pairs[0]}
    return {**means, "grounding_accuracy": float(np.concatenate(correct).mean()) if correct else None}


def _crops(samples: Sequence[Sample], boxes: np.ndarray) -> list[np.ndarray]:
    """Return the crops of boxes. Each image is decoded once, since samples of an image follow each other."""
    crops, key = [], None
    for sample, box in zip(samples, boxes, strict=True):
        image = sample.query.image
        if image.key != key:
            key, pixels = image.key, image.array()
        crops.append(crop(pixels, box))
    return crops
