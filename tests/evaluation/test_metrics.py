import numpy as np
import pytest

from vg_gym.evaluation import metrics, probes
from vg_gym.types import Query


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


def test_embedding_metrics_by_hand():
    texts, crops = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    found = metrics.embedding_metrics(texts, crops)
    assert found == {"cosine": 0.5, "euclidean": pytest.approx(np.sqrt(2) / 2), "dot": 0.5}
    assert metrics.naming_accuracy(crops, np.eye(2), np.array([0, 1])) == 0.5


def test_cells_and_slopes():
    corners = np.array([[0, 0, 0.2, 0.2], [0.8, 0.8, 1, 1], [0.4, 0.4, 0.6, 0.6]], np.float32)
    assert probes.cells(corners).tolist() == [0, 8, 4]
    assert probes.centre_slope(corners, corners) == pytest.approx(1)
    same = np.tile(corners[2:], (3, 1))
    assert probes.centre_slope(same, corners) == pytest.approx(0, abs=1e-6)
    assert probes.by_cell(np.array([1.0, 0.0, 0.6]), corners) == [1.0, None, None, None, 1.0, None, None, None, 0.0]
    assert probes.prior_gap(np.array([1.0, 0.0, 1.0]), corners, corners[0]) == pytest.approx(0.5)


def test_spoiled_expressions():
    queries = [Query(None, text, str(i)) for i, text in enumerate(["a red star", "the left ring", "big cross"])]
    assert {q.expression for q in probes.altered(queries, "empty")} == {"object"}
    shuffled = probes.altered(queries, "shuffled", 3)
    assert [sorted(q.expression.split()) for q in shuffled] == [sorted(q.expression.split()) for q in queries]
    swapped = probes.altered(queries, "swapped", 1)
    assert sorted(q.expression for q in swapped) == sorted(q.expression for q in queries)
    assert swapped == probes.altered(queries, "swapped", 1)
    assert not {q.key for q in swapped} & {q.key for q in queries}


def test_the_gap_of_a_planted_prior():
    ious = np.array([0.9, 0.9, 0.6, 0.1, 0.2, 0.8, 0.3, 0.9])
    agrees = [True, True, True, True, False, False, False, None]
    found = probes.planted_gap(ious, agrees, groups=range(8))
    assert found["agree"] == 0.75 and found["conflict"] == pytest.approx(1 / 3) and found["n_conflict"] == 3
    assert found["gap"] == pytest.approx(0.75 - 1 / 3)
    low, high = found["gap_ci"]
    assert low < found["gap"] < high
    assert probes.planted_gap(ious, [None] * 8, range(8)) is None
    assert probes.planted_gap(ious, [True] * 8, range(8)) is None


def test_intervals_of_a_gap_cover_it(rng):
    covered = 0
    for seed in range(60):
        here = rng.random(200) < 0.5
        values = (rng.random(200) < np.where(here, 0.8, 0.6)).astype(float)
        low, high = metrics.bootstrap_gap_ci(values, here, ~here, np.arange(200) // 2, seed, resamples=300)
        covered += low <= 0.2 <= high
    assert 50 <= covered <= 60
