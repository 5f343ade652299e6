"""Metrics of sets and scores against numbers of other implementations."""

import itertools

import numpy as np
import pytest

from vg_gym.evaluation import set_metrics

SCORES = np.array(
    [0.63, 0.9, 0.78, 0.23, 0.3, 0.87, 0.01, 0.82, 0.8, 0.47, 0.3, 0.28, 0.25, 0.45, 0.5, 0.55, 1.0, 0.79, 0.62, 0.99,
     0.22, 0.16, 0.61, 0.04, 0.04, 0.51, 0.47, 0.92, 0.63, 0.51, 0.5, 0.25, 0.01, 0.19, 0.69, 0.2, 0.37, 0.0, 0.83,
     0.15, 0.27, 0.88, 0.51, 0.85, 0.64, 0.74, 0.09, 0.54, 0.51, 0.87, 0.36, 0.6, 0.06, 0.39, 0.32, 0.15, 0.82, 0.38,
     0.98, 0.59]
)  # fmt: skip
RIGHT = np.array([*map(int, "011001010100001010010000000111100010101001010100110000100110")], dtype=bool)


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    assert set_metrics.auroc(SCORES, RIGHT) == pytest.approx(0.8513513513513513, abs=1e-12)  # roc_auc_score, 1.7


def test_the_calibration_error_is_that_of_torchmetrics():
    assert set_metrics.calibration_error(SCORES, RIGHT) == pytest.approx(0.1872, abs=5e-5)  # binary_calibration_error


def test_the_temperature_is_that_of_logistic_regression():
    """Scikit-learn's unpenalised logistic regression of the logits, without an intercept, has the slope 1 / T."""
    assert set_metrics.fit_temperature(SCORES, RIGHT) == pytest.approx(0.8944063534411967, abs=1e-4)


def test_calibration_helps_overconfident_scores():
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, 4000)
    right, confident = rng.random(4000) < true, set_metrics.calibrated(true, 0.4)
    mended = set_metrics.calibrated(confident, set_metrics.fit_temperature(confident, right))
    assert set_metrics.calibration_error(confident, right) > 0.1
    assert set_metrics.calibration_error(mended, right) < 0.03


def iou(a, b):
    """Return the IoU of two boxes, number by number."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def exactly_right(boxes, targets):
    """Return whether some assignment matches all boxes with all targets, by trying every one."""
    if len(boxes) != len(targets):
        return False
    return any(
        all(iou(box, target) >= 0.5 for box, target in zip(boxes, order, strict=True))
        for order in itertools.permutations(targets)
    )


def summary(answers, targets):
    """Return the columns of sets of boxes."""
    f1 = np.array([set_metrics.set_f1(boxes, true) for boxes, true in zip(answers, targets, strict=True)])
    answered, counts = (np.array([len(boxes) for boxes in sets]) for sets in (answers, targets))
    return set_metrics.set_summary(f1, answered > 0, counts, range(len(f1)))


def random_boxes(rng, count):
    low = rng.uniform(0, 60, (count, 2))
    return np.concatenate([low, low + rng.uniform(10, 40, (count, 2))], axis=1)


def test_the_scores_of_sets_are_those_of_a_count_by_hand():
    rng = np.random.default_rng(3)
    targets = [random_boxes(rng, rng.integers(0, 4)) for _ in range(300)]
    answers = []
    for true in targets:
        moved = true[rng.permutation(len(true))] + rng.normal(0, 1.5, true.shape)
        extra = random_boxes(rng, 1 if rng.random() < 0.2 else 0)
        answers.append(np.concatenate([moved[rng.random(len(moved)) < 0.9], extra]))
    row = summary(answers, targets)
    empty = [len(boxes) == 0 for boxes, true in zip(answers, targets, strict=True) if len(true) == 0]
    full = [len(boxes) > 0 for boxes, true in zip(answers, targets, strict=True) if len(true) > 0]
    right = [exactly_right(boxes.tolist(), true.tolist()) for boxes, true in zip(answers, targets, strict=True)]
    assert 0.4 < np.mean(right) < 0.9
    assert row["n_acc"] == pytest.approx(np.mean(empty)) and row["t_acc"] == pytest.approx(np.mean(full))
    assert row["pr@f1"] == pytest.approx(np.mean(right))


def test_perfect_and_empty_answers():
    rng = np.random.default_rng(4)
    targets = [random_boxes(rng, count) for count in (0, 1, 1, 3, 0, 2, 1, 1)]
    perfect = summary(targets, targets)
    assert [perfect[name] for name in ("n_acc", "t_acc", "pr@f1", "set_f1", "pr@f1_many")] == [1.0] * 5
    empty = summary([true[:0] for true in targets], targets)
    assert empty["pr@f1"] == 0.25 and empty["n_acc"] == 1.0 and empty["t_acc"] == 0.0
    assert (empty["n_none"], empty["n_many"]) == (2, 2)


def test_duplicate_boxes_match_a_target_once():
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    assert set_metrics.set_f1(np.repeat(box, 50, axis=0), box) == pytest.approx(2 / 51)


def test_a_share_of_no_expressions_is_none():
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    assert summary([box], [box])["n_acc"] is None
    assert set_metrics.auroc(np.array([0.1, 0.2]), np.array([True, True])) is None


def test_a_threshold_refuses_no_more_than_it_may():
    rng = np.random.default_rng(5)
    scores, has_target = rng.random(1000), rng.random(1000) < 0.7
    threshold = set_metrics.fit_threshold(scores, has_target, max_refused=0.02)
    refused = (scores[has_target] < threshold).mean()
    assert 0.015 < refused <= 0.02


def test_recall_counts_the_first_boxes():
    true = np.array([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 70.0, 70.0]])
    ranked = [np.stack([true[1], true[0]]), np.stack([true[1], true[0]])]
    assert set_metrics.recall_at(ranked, true, 1) == 0.5 and set_metrics.recall_at(ranked, true, 2) == 1.0


def test_an_episode_that_has_ended_keeps_its_iou():
    steps = set_metrics.mean_iou_by_step([np.array([0.2, 0.6]), np.array([0.4, 0.5, 0.6, 0.8])])
    np.testing.assert_allclose(steps, [0.3, 0.55, 0.6, 0.7])
