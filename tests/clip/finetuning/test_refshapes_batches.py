"""Batches from RefShapes, whose matches are known."""

import numpy as np

from vg_gym.clip.finetuning.refshapes_batches import RefShapesBatches
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import read_expression


def test_refshapes_batches_match_what_is_true():
    dataset = RefShapes("refshapes", "train", scenes=50)
    batch = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    again = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    np.testing.assert_array_equal(batch.images, again.images)
    assert batch.texts == again.texts
    rng = np.random.default_rng([1, 5])
    scenes = [dataset.record(int(i)).scene() for i in rng.integers(50, size=3)]
    for row, text in enumerate(batch.texts):
        expression, own = read_expression(text), batch.text_image[row]
        assert batch.match[row, own].tolist().count(1) == 1 and batch.match[row, own, batch.text_object[row]] == 1
        assert expression.referents(scenes[own]) == [batch.text_object[row]]
        for image, scene in enumerate(scenes):
            for column, item in enumerate(scene):
                if image != own:
                    fits = expression.head.fits(item)
                    known = 1 if batch.by_appearance[row] else -1
                    assert batch.match[row, image, column] == (known if fits else 0)
