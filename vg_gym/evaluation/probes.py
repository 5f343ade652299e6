"""Bias probes, which test whether a method uses image and words or only the usual places of objects."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.errors import unknown
from vg_gym.evaluation import metrics
from vg_gym.evaluation.intervals import gap_interval
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import Query

PROBES = ("empty", "shuffled", "swapped")
"""Ways to alter expressions; see :func:`altered`."""
CELLS = 9
"""Number of cells of the grid of :func:`cells`."""
COLUMNS = ("centre_slope", "prior_gap", "planted_prior")
"""Columns of the bias probes with one value per method, which is None for a method without boxes."""


def cells(boxes: np.ndarray) -> np.ndarray:
    """Return the cell of a 3 x 3 grid, 0 (upper left) to 8, with the centre of each normalised box (N, 4)."""
    column, row = np.clip((box_ops.to_cxcywh(boxes)[:, :2] * 3).astype(int), 0, 2).T
    return row * 3 + column


def by_kind(ious: np.ndarray, kinds: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return mean IoU, Acc@0.5 and number of samples by kind of expression, without kind ``""``.

    >>> by_kind(np.array([0.2, 0.8, 0.6]), ["size", "size", ""])
    {'size': {'mean_iou': 0.5, 'acc@0.5': 0.5, 'n': 2}}
    """
    labels, groups = np.array(kinds), {}
    for kind in sorted(set(kinds) - {""}):
        groups[kind] = ious[labels == kind]
    return {
        kind: {"mean_iou": float(group.mean()), "acc@0.5": metrics.accuracy(group, 0.5), "n": len(group)}
        for kind, group in groups.items()
    }


def by_cell(ious: np.ndarray, targets: np.ndarray) -> list[float | None]:
    """Return Acc@0.5 by the cell of the target's centre; None for cells without a target."""
    cell = cells(targets)
    return [metrics.accuracy(ious[cell == c], 0.5) if (cell == c).any() else None for c in range(CELLS)]


def center_slope(predicted: np.ndarray, targets: np.ndarray) -> float | None:
    """Return the slope of predicted on true centres (both axes pooled, centred): 1 follows targets, 0 ignores them."""
    if not len(targets):
        return None
    p, t = (box_ops.to_cxcywh(b)[:, :2] - box_ops.to_cxcywh(b)[:, :2].mean(0) for b in (predicted, targets))
    spread = float((t * t).sum())
    return float((p * t).sum() / spread) if spread > 1e-9 else None


def prior_gap(ious: np.ndarray, targets: np.ndarray, prior: np.ndarray) -> float | None:
    """Return Acc@0.5 where the best constant box has IoU >= 0.1 with the target, minus Acc@0.5 elsewhere.

    None if all targets are on one side.

    Args:
        ious: IoUs of the method, (N,).
        targets: true boxes, pixels (N, 4).
        prior: best constant box, pixels (N, 4).
    """
    agrees = box_ops.pixel_iou(targets, prior) >= 0.1
    if agrees.all() or not agrees.any():
        return None
    return metrics.accuracy(ious[agrees], 0.5) - metrics.accuracy(ious[~agrees], 0.5)


def planted_gap(
    ious: np.ndarray, agrees: Sequence[bool | None], groups: Sequence | np.ndarray
) -> dict[str, object] | None:
    """Return Acc@0.5 where a prior planted in the training data agrees with the target, and where it conflicts.

    Args:
        ious: IoUs of the method, (N,).
        agrees: whether the prior agrees, N values; None where no prior is planted.
        groups: N image ids.

    Returns:
        ``agree``, ``conflict``, ``gap`` (their difference), ``gap_ci``, ``n_agree``, ``n_conflict``; None if no prior
        is planted, or all targets are on one side.
    """
    planted = np.array([a is not None for a in agrees])
    yes = np.array([bool(a) for a in agrees]) & planted
    no = planted & ~yes
    if not yes.any() or not no.any():
        return None
    hit = metrics.hits(ious)
    ci = gap_interval(hit, yes, no, groups)
    agree, conflict = float(hit[yes].mean()), float(hit[no].mean())
    return {"agree": agree, "conflict": conflict, "gap": agree - conflict, "gap_ci": ci and list(ci),
            "n_agree": int(yes.sum()), "n_conflict": int(no.sum())}  # fmt: skip


def altered(queries: Sequence[Query], how: str, seed: int = 0) -> Sequence[Query]:
    """Return queries with altered expressions and new keys.

    Args:
        queries: queries to alter.
        how: ``empty`` ("object"), ``shuffled`` words, or ``swapped`` with the expression of another query.
        seed: seed of the shuffling.

    Raises:
        VGGymError: ``how`` is unknown.
    """
    if how not in PROBES:
        raise unknown("probe", how, PROBES)
    rng = random.Random(seed)
    texts = [query.expression for query in queries]
    if how == "empty":
        texts = ["object"] * len(texts)
    elif how == "shuffled":
        texts = [" ".join(rng.sample(text.split(), len(text.split()))) for text in texts]
    else:
        order = list(range(len(texts)))
        rng.shuffle(order)
        texts = [texts[i] for i in order]

    def altered_query(index: int) -> Query:
        query = queries[index]
        return replace(query, expression=texts[index], key=f"{query.key}?{how}")

    return LazySequence(len(texts), altered_query)
