"""Masks become proposals with tight boxes."""

import numpy as np

from vg_gym.baselines.masks import from_masks, mask_box

IMAGE = np.zeros((20, 30, 3), dtype=np.uint8)


def mask(x1, y1, x2, y2):
    found = np.zeros(IMAGE.shape[:2], dtype=bool)
    found[y1:y2, x1:x2] = True
    return found


def test_boxes_are_tight():
    assert mask_box(mask(3, 4, 10, 6)).tolist() == [3, 4, 10, 6]
    assert mask_box(mask(3, 4, 10, 6) | mask(0, 19, 1, 20)).tolist() == [0, 4, 10, 20]
    assert mask_box(mask(0, 0, 0, 0)).tolist() == [0, 0, 0, 0]


def test_proposals_are_best_first_and_neither_empty_nor_too_large():
    masks = np.array([mask(0, 0, 5, 5), mask(0, 0, 0, 0), mask(0, 2, 30, 4), mask(9, 9, 12, 19)])
    found = from_masks(masks, np.array([0.2, 1.0, 0.9, 0.5]), IMAGE, largest=0.9)
    assert found.boxes.tolist() == [[9, 9, 12, 19], [0, 0, 5, 5]]
    np.testing.assert_array_equal(found.masks, masks[[3, 0]])
    assert found.scores.tolist() == [0.5, np.float32(0.2)] and found.labels == ("", "")
    assert len(from_masks(masks, np.ones(4), IMAGE)) == 3
    assert len(from_masks(masks[:0], np.ones(0), IMAGE)) == 0
