"""The published files as columns, and masks from their codes."""

import numpy as np

from tests.layouts import SMALL_COPY
from vg_gym.data.annotations import decode_mask, lookup

pytestmark = SMALL_COPY


def test_polygons_with_several_parts_are_united():
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    mask = decode_mask([square, [x + 4 for x in square]], (10, 12))
    assert mask.shape == (12, 10) and mask.sum() == 32


def test_lookup_finds_rows_or_says_minus_one():
    ids = np.array([7, 3, 9])
    assert lookup(ids, np.array([9, 7, 8, 100, -1, 3])).tolist() == [2, 0, -1, -1, -1, 1]
    assert lookup(np.array([], int), np.array([1])).tolist() == [-1]
