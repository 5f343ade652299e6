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


def test_mirrored_and_bordered_batches_mean_the_same_objects():
    dataset = RefShapes("refshapes", "train", scenes=50)
    plain = RefShapesBatches(dataset, 8, 128, 32, seed=1).batch(5)
    other = RefShapesBatches(dataset, 8, 128, 32, seed=1, flip=True, border=0.3).batch(5)
    sides = [
        (a != b, "left" in a.split() or "right" in a.split() or "most" in a)
        for a, b in zip(plain.texts, other.texts, strict=True)
    ]
    assert any(changed for changed, _ in sides) and all(says for changed, says in sides if changed)
    np.testing.assert_array_equal(plain.match, other.match)
    np.testing.assert_array_equal(plain.valid, other.valid)
    size = plain.objects[..., 2:] - plain.objects[..., :2]
    assert ((other.objects[..., 2:] - other.objects[..., :2])[plain.valid] <= size[plain.valid] + 1e-6).all()
    flipped = RefShapesBatches(dataset, 8, 128, 32, seed=1, flip=True).batch(5)
    for image in range(8):
        turned = (flipped.images[image] == plain.images[image][:, ::-1]).all()
        assert turned or (flipped.images[image] == plain.images[image]).all()
        corners = plain.objects[image][plain.valid[image]]
        expected = corners[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0] if turned else corners
        np.testing.assert_allclose(flipped.objects[image][plain.valid[image]], expected, atol=1e-6)


def test_a_border_keeps_boxes_on_their_pixels():
    from vg_gym.clip.finetuning.augmentation import bordered

    image = np.zeros((40, 60, 3), dtype=np.uint8)
    image[10:30, 15:45] = 255
    box = np.array([[0.25, 0.25, 0.75, 0.75]], dtype=np.float32)
    for seed in range(8):
        larger, (moved,) = bordered(image, box, np.random.default_rng(seed), 0.5)
        x1, y1, x2, y2 = np.rint(moved * np.tile(larger.shape[1::-1], 2)).astype(int)
        assert (larger[y1:y2, x1:x2] == 255).all() and (x2 - x1, y2 - y1) == (30, 20)
    assert bordered(image, box, np.random.default_rng(0), 0.0)[0] is image
