"""How well a CLIP localises: picking among true boxes, by crops and densely, and the window that scores highest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.dense import box_mean, summed_area, unit
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.types import GroundingDataset, Sample


def lattice(grid: int, step: float = 1.0, smallest: float = 1.0, largest: float | None = None) -> np.ndarray:
    """All boxes (N, 4), normalised float32, with edges on a lattice over a g x g map.

    Args:
        grid: g, cells per side of the map.
        step: distance of lattice lines in cells.
        smallest: least side in cells.
        largest: greatest side in cells; default the whole image.
    """
    lines = np.arange(0, grid + 1e-6, step)
    low, high = np.meshgrid(lines, lines, indexing="ij")
    side = high - low
    spans = np.stack([low, high], -1)[(side >= smallest - 1e-6) & (side <= (largest or grid) + 1e-6)]
    x, y = np.meshgrid(np.arange(len(spans)), np.arange(len(spans)), indexing="ij")
    x, y = spans[x.ravel()], spans[y.ravel()]
    return (np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], -1) / grid).astype(np.float32)


def by_image(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Samples grouped by image, in order of first appearance."""
    groups: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.image_id].append(sample)
    return list(groups.values())


def localisation_report(
    encoder: ClipEncoder, dataset: GroundingDataset, limit: int = 400, crops: bool = True, step: float = 1.0
) -> dict[str, dict[str, float]]:
    """R@1 among the true boxes of the same image, and the IoU of the best window, per kind of expression.

    Args:
        encoder: the CLIP to measure.
        dataset: samples with objects.
        limit: how many samples to look at (from the start).
        crops: also rank by crops.
        step: lattice of the window search, in cells; sides from 1 cell to 5/8 of the image.

    Returns:
        kind (and ``"all"``) -> ``dense_r1``, ``crop_r1``, ``window_iou``, ``n``.
    """
    samples = [dataset[i] for i in range(min(limit, len(dataset)))]
    windows = lattice(encoder.grid, step, 1.0, encoder.grid * 5 / 8)
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
    dense = unit(box_mean(table, truth[None])[0]) @ texts.T
    cropped = encoder.encode_boxes(pixels, objects.boxes) @ texts.T if crops else None
    best = windows[(unit(box_mean(table, windows[None])[0]) @ texts.T).argmax(axis=0)]
    rows = []
    for i, sample in enumerate(group):
        target = objects.ann_ids.index(sample.ann_id)
        row = {"dense_r1": float(dense[:, i].argmax() == target)}
        if cropped is not None:
            row["crop_r1"] = float(cropped[:, i].argmax() == target)
        row["window_iou"] = float(box_ops.iou(best[i], box_ops.normalize(sample.box, image.size)))
        rows.append(row)
    return rows
