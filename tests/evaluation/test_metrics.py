import numpy as np
import pytest

from vg_gym.clip.crops import crop
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


def test_clip_metrics_are_of_the_crops(shapes, tiny_clip):
    samples = [shapes[i] for i in range(5)]  # of two images
    boxes = np.stack([s.box for s in samples])
    found = metrics.clip_metrics(tiny_clip, samples, boxes, shapes.categories)
    crops = tiny_clip.encode_crops([crop(s.query.image.array(), s.box) for s in samples])
    texts = tiny_clip.encode_text([s.query.expression for s in samples])
    assert tuple(found) == metrics.CLIP_METRICS
    assert found["cosine"] == pytest.approx(metrics.embedding_metrics(texts, crops)["cosine"].mean(), abs=1e-6)
    names = tiny_clip.encode_text([f"the {name}" for name in shapes.categories])
    true = np.array([shapes.categories.index(s.category) for s in samples])
    assert found["grounding_accuracy"] == pytest.approx(metrics.named(crops, names, true).mean())
    full = np.tile(np.array([0, 0, 128, 128], dtype=np.float32), (5, 1))
    assert metrics.clip_metrics(tiny_clip, samples, full, shapes.categories)["cosine"] != found["cosine"]
