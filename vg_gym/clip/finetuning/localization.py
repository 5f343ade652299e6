"""Localization measures of a CLIP: choice among true boxes, by crops and by dense features, and the best window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import box_mean, l2_normalize, summed_area
from vg_gym.types import GroundingDataset, Sample, by_image


def localization_report(
    encoder: ClipEncoder, dataset: GroundingDataset, limit: int = 400, crops: bool = True, step: float = 1.0
) -> dict[str, dict[str, float]]:
    """Measure R@1 among the true boxes of the same image, and the IoU of the best window, per kind of expression.

    The share of samples in which the best true box has the target's category says how much of R@1 is due to categories;
    R@1 divided by it is the share of right choices within the right category.

    Args:
        encoder: CLIP to measure.
        dataset: samples with objects.
        limit: number of samples to use, from the start.
        crops: also rank by crops.
        step: step of the window lattice in cells; the windows' sides range from 1 cell to 5/8 of the image.

    Returns:
        ``dense_r1``, ``dense_category``, ``crop_r1``, ``crop_category``, ``window_iou`` and ``n`` for each kind and for
        ``"all"``.
    """
    samples = [dataset[i] for i in range(min(limit, len(dataset)))]
    windows = lattice_boxes(encoder.grid, step, 1.0, encoder.grid * 5 / 8)
    rows_by_kind: dict[str, list[dict[str, float]]] = defaultdict(list)
    for group in by_image(samples):
        for sample, row in zip(group, _measure_image(encoder, dataset, group, windows, crops), strict=True):
            rows_by_kind[sample.kind or "any"].append(row)
            rows_by_kind["all"].append(row)
    return {
        kind: {"n": len(rows), **{k: float(np.mean([r[k] for r in rows])) for k in rows[0]}}
        for kind, rows in sorted(rows_by_kind.items())
    }


def measures(encoder: ClipEncoder, dataset: GroundingDataset, limit: int) -> dict[str, float]:
    """Return the values of :func:`localization_report` over all expressions, and by kind (``window_iou/size``)."""
    report = localization_report(encoder, dataset, limit)
    whole = report.pop("all")
    return {**whole, **{f"{name}/{kind}": value for kind, row in report.items() for name, value in row.items()}}


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
        row = {}
        for view, scores in (("dense", dense), ("crop", cropped)):
            if scores is not None:
                chosen = scores[:, i].argmax()
                row[f"{view}_r1"] = float(chosen == target)
                row[f"{view}_category"] = float(objects.categories[chosen] == objects.categories[target])
        row["window_iou"] = float(box_ops.pixel_iou(box_ops.denormalize(best[i], image.size), sample.box))
        rows.append(row)
    return rows
