import numpy as np
import pytest

from vg_gym.clip.crops import crop
from vg_gym.evaluation.clip_metrics import NAMES, clip_metrics


def test_clip_metrics_are_of_the_crops(shapes, tiny_clip):
    samples = [shapes[i] for i in range(5)]  # of two images
    boxes = np.stack([s.box for s in samples])
    found = clip_metrics(tiny_clip, samples, boxes, shapes.categories)
    crops = tiny_clip.encode_crops([crop(s.query.image.array(), s.box) for s in samples])
    texts = tiny_clip.encode_text([s.query.expression for s in samples])
    assert tuple(found) == NAMES
    assert found["cosine"] == pytest.approx(np.mean(np.sum(crops * texts, axis=1)), abs=1e-6)
    names = tiny_clip.encode_text([f"the {name}" for name in shapes.categories])
    nearest = [shapes.categories[i] for i in (crops @ names.T).argmax(axis=1)]
    right = [name == s.category for name, s in zip(nearest, samples, strict=True)]
    assert found["grounding_accuracy"] == pytest.approx(np.mean(right))
    full = np.tile(np.array([0, 0, 128, 128], dtype=np.float32), (5, 1))
    assert clip_metrics(tiny_clip, samples, full, shapes.categories)["cosine"] != found["cosine"]
