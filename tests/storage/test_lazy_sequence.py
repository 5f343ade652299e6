"""Sequences that compute their items on access behave like lists."""

import numpy as np
import pytest

from vg_gym.storage.lazy_sequence import Chained, LazySequence


@pytest.mark.parametrize(
    "sequence", [LazySequence(5, "abcde".__getitem__), Chained(["ab", "", LazySequence(3, "cde".__getitem__)])]
)
def test_indices_are_those_of_a_list(sequence):
    items = list("abcde")
    assert len(sequence) == 5 and list(sequence) == items and list(reversed(sequence)) == items[::-1]
    assert sequence[-5] == "a" and sequence[np.int64(4)] == "e"
    for part in (slice(1, 4), slice(None, None, -2), slice(10, 20), slice(-3, None)):
        assert sequence[part] == items[part]
    for index in (5, -6):
        with pytest.raises(IndexError, match=rf"index {index} is out of range for 5 items"):
            sequence[index]
    with pytest.raises(TypeError):
        sequence["a"]


def test_recent_items_stay_and_others_are_made_again():
    made = []
    sequence = LazySequence(3, lambda number: made.append(number) or [number], keep=2)
    assert [sequence[index] for index in (0, 1, 0, 2, 0, 1)] == [[0], [1], [0], [2], [0], [1]]
    assert made == [0, 1, 2, 1]
