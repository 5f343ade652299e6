import numpy as np
import pytest

from vg_gym.evaluation import metrics


def test_the_interval_of_independent_values_is_the_normal_one(rng):
    values = rng.normal(2.0, 1.0, 400)
    low, high = metrics.bootstrap_ci(values, np.arange(400))
    assert (high - low) == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert low < values.mean() < high


def test_clustered_values_have_a_wider_interval(rng):
    per_image = rng.normal(0, 1, 50)
    values, groups = np.repeat(per_image, 8), np.repeat(np.arange(50), 8)
    naive = np.subtract(*metrics.bootstrap_ci(values, np.arange(400))[::-1])
    clustered = np.subtract(*metrics.bootstrap_ci(values, groups)[::-1])
    assert clustered > 2 * naive
    assert metrics.bootstrap_ci(values, groups, seed=1) == metrics.bootstrap_ci(values, groups, seed=1)


def test_paired_differences_see_what_single_intervals_do_not(rng):
    before = rng.uniform(0, 1, 300)
    after = before + 0.02
    found = metrics.paired_difference(after, before, np.arange(300))
    assert found["mean"] == pytest.approx(0.02) and found["ci"][0] > 0


def test_intervals_do_not_depend_on_how_many_are_drawn_together(rng, monkeypatch):
    values, groups = rng.random(300), np.arange(300) // 3
    whole = metrics.bootstrap_ci(values, groups)
    metrics._draws.cache_clear()
    monkeypatch.setattr(metrics, "BLOCK_COUNTS", 700)  # seven samples of a hundred groups
    assert metrics.bootstrap_ci(values, groups) == pytest.approx(whole, abs=1e-12)
    assert [len(block) for block in metrics._draws(100, 0, 20)] == [7, 7, 6]
    metrics._draws.cache_clear()


def test_embedding_metrics_by_hand():
    texts, crops = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    found = {name: values.tolist() for name, values in metrics.embedding_metrics(texts, crops).items()}
    assert found == {"cosine": [1, 0], "euclidean": pytest.approx([0, np.sqrt(2)]), "dot": [1, 0]}
    assert metrics.named(crops, np.eye(2), np.array([0, 1])).tolist() == [True, False]


def test_intervals_of_a_gap_cover_it(rng):
    covered = 0
    for seed in range(60):
        here = rng.random(200) < 0.5
        values = (rng.random(200) < np.where(here, 0.8, 0.6)).astype(float)
        low, high = metrics.bootstrap_gap_ci(values, here, ~here, np.arange(200) // 2, seed, resamples=300)
        covered += low <= 0.2 <= high
    assert 50 <= covered <= 60
