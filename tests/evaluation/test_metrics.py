import numpy as np
import pytest

from vg_gym.evaluation import metrics


def test_paired_differences_see_what_single_intervals_do_not(rng):
    before = rng.uniform(0, 1, 300)
    after = before + 0.02
    found = metrics.paired_difference(after, before, np.arange(300))
    assert found["mean"] == pytest.approx(0.02) and found["ci"][0] > 0


def test_embedding_metrics_by_hand():
    texts, crops = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    found = {name: values.tolist() for name, values in metrics.embedding_metrics(texts, crops).items()}
    assert found == {"cosine": [1, 0], "euclidean": pytest.approx([0, np.sqrt(2)]), "dot": [1, 0]}
    assert metrics.named(crops, np.eye(2), np.array([0, 1])).tolist() == [True, False]
