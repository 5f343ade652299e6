"""How well a CLIP localizes: picking among true boxes, by crops and densely, and the window that scores highest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.dense import box_mean, l2_normalize, summed_area
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.types import GroundingDataset, Sample, by_image


def localization_report(
    encoder: ClipEncoder, dataset: GroundingDataset, limit: int = 400, crops: bool = True, step: float = 1.0
) -> dict[str, dict[str, float]]:
    """R@1 among the true boxes of the same image, and the IoU of the best window, per kind of expression.

    Args:
        encoder: the CLIP to measure.
        dataset: samples with objects.
        limit: how many samples to use (from the start).
        crops: also rank by crops.
        step: lattice of the window search, in cells; sides from 1 cell to 5/8 of the image.

    Returns:
        kind (and ``"all"``) -> ``dense_r1``, ``crop_r1``, ``window_iou``, ``n``.
    """
    samples = [dataset[i] for i in range(min(limit, len(dataset)))]
    windows = lattice_boxes(encoder.grid, step, 1.0, encoder.grid * 5 / 8)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for group in by_image(samples):
        for sample, row in zip(group, _measure_image(encoder, dataset, group, windows, crops), strict=True):
            found[sample.kind or "any"].append(row)
            found["all"].append(row)
    return {
        kind: {"n": len(rows), **{k: float(np.mean([r[k] for r in rows])) for k in rows[0]}}
        for kind, rows in sorted(found.items())
    }


def _measure_image(
    encoder: ClipEncoder, dataset: GroundingDataset, group: Sequence[Sample], windows: np.ndarray, crops: bool
) -> list[dict[str, float]]:
    image, objects = group[0].query.image, dataset.objects(group[0].image_id)
    pixels = image.array()
    truth = box_ops.normalize(objects.boxes, image.size)
    table = summed_area(encoder.encode_dense([pixels]))
    texts = encoder.encode_text([s.query.expression for s in group])
    dense = l2_normalize(box_mean(table, truth[None])[0]) @ texts.T
    cropped = encoder.encode_boxes(pixels, objects.boxes) @ texts.T if crops else None
    best = windows[(l2_normalize(box_mean(table, windows[None])[0]) @ texts.T).argmax(axis=0)]
    rows = []
    for i, sample in enumerate(group):
        target = objects.ann_ids.index(sample.ann_id)
        row = {"dense_r1": float(dense[:, i].argmax() == target)}
        if cropped is not None:
            row["crop_r1"] = float(cropped[:, i].argmax() == target)
        row["window_iou"] = float(box_ops.pixel_iou(box_ops.denormalize(best[i], image.size), sample.box))
        rows.append(row)
    return rows
