import numpy as np

from vg_gym.features.proposals import proposals, select

IMAGE = np.zeros((40, 60, 3), dtype=np.uint8)
BOXES = [[10, 10, 20, 20], [-5, -5, 30, 30], [50, 30, 90, 90], [5, 5, 5.5, 30], [11, 10, 20, 20]]


def found():
    masks = np.arange(5)[:, None, None] * np.ones((5, 40, 60), dtype=int)
    return proposals(np.array(BOXES), np.array([0.5, 0.9, 0.2, 1.0, 0.4]), list("abcda"), IMAGE, masks)


def test_proposals_lie_inside_best_first_without_slivers():
    ours = found()
    np.testing.assert_array_equal(ours.boxes, [[0, 0, 30, 30], [10, 10, 20, 20], [11, 10, 20, 20], [50, 30, 60, 40]])
    np.testing.assert_allclose(ours.scores, [0.9, 0.5, 0.4, 0.2])
    assert ours.labels == ("b", "a", "a", "c")
    assert ours.masks[:, 0, 0].tolist() == [1, 0, 4, 2]
    assert ours.boxes.dtype == ours.scores.dtype == np.float32


def test_selection():
    assert select(found()).labels == ("b", "a", "a", "c")
    assert select(found(), min_score=0.45).labels == ("b", "a")
    assert select(found(), max_boxes=3, max_overlap=0.5).labels == ("b", "a", "c")
    assert select(found(), classes=["a", "c"], max_boxes=2).labels == ("a", "a")
    none = select(found(), classes=["zebra"])
    assert len(none) == 0 and none.boxes.shape == (0, 4) and none.masks.shape == (0, 40, 60)
    assert len(select(none)) == 0
