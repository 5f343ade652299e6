"""Metrics for expressions that mean nothing, one thing or several: pure functions on arrays.

An answer is a set of boxes, best first; the empty set says that nothing fits. The targets are a set of boxes as well.

- Sets: N-acc, T-acc and Pr@(F1=1, IoU >= 0.5) of gRefCOCO (He et al., "GREC: Generalized Referring Expression
  Comprehension", arXiv:2308.16182, and Liu, Ding & Jiang, "GRES", CVPR 2023), and the mean F1 of the sets.
- Scores: the area under the ROC curve (Hanley & McNeil, Radiology 1982), and the expected calibration error with the
  temperature that reduces it (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017).
- Single boxes: recall at k, and pointing accuracy (Zhang et al., "Top-down Neural Attention by Excitation Backprop",
  IJCV 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import rankdata

from vg_gym import boxes as box_ops
from vg_gym.evaluation.intervals import mean_interval

IOU_THRESHOLD = 0.5
"""Smallest IoU at which a box counts as one of the targets."""
CALIBRATION_BINS = 15
"""Number of bins of the expected calibration error, as in Guo et al."""
MAX_REFUSED_SHARE = 0.02
"""Largest share of expressions with a target that a fitted threshold may refuse."""
TEMPERATURES = (0.02, 50.0)
"""Range in which the temperature is fitted."""
_TINY = 1e-6


def matched_pairs(boxes: np.ndarray, targets: np.ndarray, threshold: float = IOU_THRESHOLD) -> int:
    """Return the number of boxes that match a target, each at most once; the best pairs are matched first.

    The scorer of gRefCOCO matches in this order too, but by generalised IoU; its paper says IoU, as we do.

    Args:
        boxes: answered boxes in pixels (m, 4).
        targets: true boxes in pixels (k, 4).
        threshold: smallest IoU of a match.

    >>> box = np.array([0.0, 0.0, 10.0, 10.0])
    >>> matched_pairs(np.stack([box, box]), box[None])
    1
    """
    if not len(boxes) or not len(targets):
        return 0
    ious = box_ops.pixel_iou(np.asarray(boxes)[:, None], np.asarray(targets)[None])
    count = 0
    while ious.size and ious.max() >= threshold:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        ious = np.delete(np.delete(ious, row, axis=0), column, axis=1)
        count += 1
    return count


def set_f1(boxes: np.ndarray, targets: np.ndarray, threshold: float = IOU_THRESHOLD) -> float:
    """Return the F1 of a set of boxes; without targets it is 1 for the empty answer and 0 for any other.

    >>> box = np.array([[0.0, 0.0, 10.0, 10.0]])
    >>> set_f1(box, box), set_f1(box[:0], box[:0]), set_f1(box, box[:0])
    (1.0, 1.0, 0.0)
    """
    if not len(boxes) and not len(targets):
        return 1.0
    return 2 * matched_pairs(boxes, targets, threshold) / (len(boxes) + len(targets))


def set_summary(
    f1: np.ndarray, answered: np.ndarray, counts: np.ndarray, groups: Sequence | np.ndarray
) -> dict[str, Any]:
    """Return the columns of a data set with empty or multiple targets, with intervals over images.

    ``n_acc`` is the share of the expressions without a target whose answer is empty, ``t_acc`` the share of those with
    a target whose answer is not, and ``pr@f1`` the share of all expressions whose answer is exactly right. A share of
    no expressions is None.

    Args:
        f1: :func:`set_f1` of the answers (N,).
        answered: true for answers with a box, bool (N,).
        counts: numbers of targets (N,).
        groups: N image ids.

    >>> set_summary(np.array([1.0, 0.0]), np.array([True, False]), np.array([1, 1]), groups=[1, 2])["t_acc"]
    0.5
    """
    none, many, everything = counts == 0, counts > 1, np.ones(len(counts), dtype=bool)
    shares = {
        "n_acc": (~answered, none),
        "t_acc": (answered, ~none),
        "pr@f1": (f1 >= 1, everything),
        "pr@f1_many": (f1 >= 1, many),
        "set_f1": (f1, everything),
    }
    row: dict[str, Any] = {"n_one": int((counts == 1).sum()), "n_none": int(none.sum()), "n_many": int(many.sum())}
    for name, (values, part) in shares.items():
        row[name] = share(values[part])
        row[f"{name}_ci"] = mean_interval(values[part].astype(float), np.asarray(groups)[part])
    return row


def share(values: np.ndarray) -> float | None:
    """Return the mean of values (N,); None if there are none."""
    return float(np.mean(values)) if len(values) else None


def auroc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the area under the ROC curve; equal scores count half, and None stands for a class without members.

    Args:
        scores: scores (N,).
        positive: true where a high score is right, bool (N,).

    >>> auroc(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
    0.875
    """
    positive = np.asarray(positive, dtype=bool)
    count, rest = int(positive.sum()), int((~positive).sum())
    if not count or not rest:
        return None
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * rest))


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy over bins of equal width.

    Args:
        probabilities: scores in [0, 1] (N,).
        right: true where the answer is right, bool (N,).
        bins: number of bins.

    >>> calibration_error(np.array([0.9, 0.9]), np.array([True, False]))
    0.4
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    places = np.minimum(np.ceil(probabilities * bins).astype(int).clip(1) - 1, bins - 1)
    gaps = np.zeros(bins)
    np.add.at(gaps, places, probabilities - np.asarray(right, dtype=np.float64))
    return float(np.abs(gaps).sum() / len(probabilities))


def fit_temperature(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Return the temperature by which logits are divided so that probabilities fit the answers best.

    Args:
        probabilities: scores in [0, 1] (N,).
        right: true where the answer is right, bool (N,).
    """
    logits, right = logit(np.clip(probabilities, _TINY, 1 - _TINY)), np.asarray(right, dtype=bool)

    def loss(log_temperature: float) -> float:
        signed = np.where(right, logits, -logits) / np.exp(log_temperature)
        return float(np.logaddexp(0, -signed).mean())

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def calibrated(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities (N,) whose logits are divided by a temperature.

    >>> calibrated(np.array([0.5, 0.9]), 2.0).round(2).tolist()
    [0.5, 0.75]
    """
    return expit(logit(np.clip(probabilities, _TINY, 1 - _TINY)) / temperature)


def fit_threshold(scores: np.ndarray, has_target: np.ndarray, max_refused: float = MAX_REFUSED_SHARE) -> float:
    """Return the largest score below which "nothing" refuses at most a given share of expressions with a target.

    Args:
        scores: scores of the best boxes (N,).
        has_target: true for expressions with a target, bool (N,).
        max_refused: largest share of them that may be refused.

    >>> fit_threshold(np.array([0.1, 0.5, 0.6, 0.7, 0.9]), np.array([False, True, True, True, True]), max_refused=0.25)
    0.6
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64)[np.asarray(has_target, dtype=bool)])
    return float(ordered[int(max_refused * len(ordered))]) if len(ordered) else 0.0


def recall_at(ranked: Sequence[np.ndarray], targets: np.ndarray, k: int, threshold: float = IOU_THRESHOLD) -> float:
    """Return the share of targets that one of the first k boxes matches.

    Args:
        ranked: N arrays (m, 4) in pixels, best first.
        targets: true boxes in pixels (N, 4).
        k: number of boxes that count.
        threshold: smallest IoU of a match.
    """
    pairs = zip(ranked, targets, strict=True)
    return float(np.mean([matched_pairs(boxes[:k], true[None], threshold) > 0 for boxes, true in pairs]))


def points_inside(boxes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return whether the centre of each box is inside its target, bool (N,); the mean is pointing accuracy.

    Args:
        boxes: answered boxes in pixels (N, 4).
        targets: true boxes in pixels (N, 4).

    >>> points_inside(np.array([[0, 0, 4, 4]]), np.array([[1, 1, 9, 9]])).tolist()
    [True]
    """
    boxes, targets = np.asarray(boxes, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((centers >= targets[..., :2]) & (centers <= targets[..., 2:])).all(axis=-1)


def corrections(
    before: np.ndarray, after: np.ndarray, threshold: float = IOU_THRESHOLD
) -> dict[str, int | float | None]:
    """Count the answers that a refinement made right and those that it made wrong, also as shares.

    ``share_made_right`` is a share of the wrong answers before the refinement, ``share_made_wrong`` one of the right
    answers; they are None without such answers.

    Args:
        before: IoUs before the refinement (N,).
        after: IoUs after it (N,).
        threshold: smallest IoU of a right answer.

    >>> corrections(np.array([0.2, 0.6, 0.8]), np.array([0.7, 0.1, 0.9]))
    {'made_right': 1, 'made_wrong': 1, 'share_made_right': 1.0, 'share_made_wrong': 0.5}
    """
    was, is_now = np.asarray(before) >= threshold, np.asarray(after) >= threshold
    right, wrong = int((~was & is_now).sum()), int((was & ~is_now).sum())
    return {
        "made_right": right,
        "made_wrong": wrong,
        "share_made_right": right / int((~was).sum()) if (~was).any() else None,
        "share_made_wrong": wrong / int(was.sum()) if was.any() else None,
    }


def mean_iou_by_step(ious: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean IoU after each step (T,); an episode that has ended keeps its last IoU.

    Args:
        ious: N arrays (t,), one IoU for the initial box and one after each step.
    """
    length = max(len(values) for values in ious)
    return np.mean([np.concatenate([values, np.full(length - len(values), values[-1])]) for values in ious], axis=0)
