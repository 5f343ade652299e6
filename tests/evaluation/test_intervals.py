import numpy as np
import pytest
from scipy import stats

from vg_gym.evaluation import intervals

DRAWS = 400
"""Samples that a coverage is measured with; its standard error is 0.011."""


def covers(truth, draw, interval):
    """Share of samples whose interval holds the truth."""
    limits = [interval(*draw()) for _ in range(DRAWS)]
    return np.mean([low <= truth <= high for low, high in limits])


@pytest.mark.parametrize("images", [8, 25, 250])
@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("likeness", [0.0, 0.5])
def test_an_interval_of_accuracy_holds_the_true_value(images, accuracy, likeness, rng):
    """Likeness: the correlation of right answers within an image."""
    groups = np.repeat(np.arange(images), 1 + np.arange(images) % 5)

    def draw():
        parts = (accuracy * (1 / likeness - 1), (1 - accuracy) * (1 / likeness - 1)) if likeness else None
        chances = rng.beta(*parts, images) if parts else np.full(images, accuracy)
        return (rng.random(len(groups)) < chances[groups]) * 1.0, groups

    assert covers(accuracy, draw, intervals.mean_interval) >= 0.92


@pytest.mark.parametrize("images", [8, 25, 250])
def test_an_interval_of_mean_iou_holds_the_true_value(images, rng):
    groups = np.repeat(np.arange(images), 2)
    ious = lambda: np.where(rng.random(2 * images) < 0.95, rng.uniform(0.7, 0.9, 2 * images), 0)  # noqa: E731
    assert covers(0.95 * 0.8, lambda: (ious(), groups), intervals.mean_interval) >= 0.92


@pytest.mark.parametrize("images", [8, 25, 250])
def test_an_interval_of_a_paired_difference_holds_the_true_value(images, rng):
    groups = np.repeat(np.arange(images), 2)
    changes = lambda: rng.choice([-1.0, 0.0, 1.0], 2 * images, p=[0.02, 0.9, 0.08])  # noqa: E731
    assert covers(0.06, lambda: (changes(), groups), intervals.difference_interval) >= 0.92


def test_an_interval_of_a_gap_holds_it(rng):
    def draw():
        here = rng.random(200) < 0.5
        values = (rng.random(200) < np.where(here, 0.8, 0.6)).astype(float)
        return values, here, ~here, np.arange(200) // 2

    assert covers(0.2, draw, intervals.gap_interval) >= 0.92


def test_with_many_images_the_interval_is_that_of_t(rng):
    values = rng.uniform(0, 1, 2000)
    low, high = intervals.mean_interval(values, np.arange(2000))
    half = stats.t.ppf(0.975, 1999) * values.std(ddof=1) / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 50)


def test_answers_without_a_failure_have_about_the_interval_of_mid_p():
    """Its lower limit of n right answers is ``0.05 ** (1 / n)``."""
    low, high = intervals.mean_interval(np.ones(200), np.arange(200))
    assert high == 1 and 1 - low == pytest.approx(1 - 0.05 ** (1 / 200), rel=0.25)


def test_expressions_of_one_image_count_less(rng):
    values, groups = np.repeat(rng.random(50), 8), np.repeat(np.arange(50), 8)
    as_one = np.subtract(*intervals.mean_interval(values, groups)[::-1])
    as_many = np.subtract(*intervals.mean_interval(values, np.arange(400))[::-1])
    assert as_one > 2 * as_many


def test_few_images_have_no_interval():
    for interval in (intervals.mean_interval, intervals.difference_interval):
        assert interval(np.ones(28), np.arange(28) % 7) is None
        assert interval(np.ones(32), np.arange(32) % 8) is not None
        assert interval(np.ones(0), []) is None


def test_an_interval_is_within_its_range_and_mirrored(rng):
    values = (rng.random(40) < 0.9) * 1.0
    low, high = intervals.mean_interval(values, range(40))
    assert 0 <= low < values.mean() < high <= 1
    assert intervals.mean_interval(1 - values, range(40)) == pytest.approx((1 - high, 1 - low))
    change = rng.choice([-1.0, 0.0, 1.0], 40)
    low, high = intervals.difference_interval(change, range(40))
    assert intervals.difference_interval(-change, range(40)) == pytest.approx((-high, -low))


def test_columns_do_not_depend_on_each_other(rng, monkeypatch):
    values, groups = rng.random((60, 7)), np.arange(60) // 3
    together = intervals.mean_intervals(values, groups)
    monkeypatch.setattr(intervals, "BLOCK_VALUES", 40)  # two columns at a time
    np.testing.assert_allclose(intervals.mean_intervals(values, groups), together, atol=1e-8)
    np.testing.assert_allclose(intervals.mean_interval(values[:, 3], groups), together[3], atol=1e-8)
