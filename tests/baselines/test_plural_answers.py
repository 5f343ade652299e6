"""Answers have as many boxes as the words state, best first, and none that overlap."""

import numpy as np

from vg_gym.baselines.plural_answers import answering_rows


def test_answers_have_the_stated_number_and_do_not_overlap():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [1, 0, 11, 10], [40, 0, 50, 10]], dtype=np.float32)
    values = np.array([0.9, 0.5, 0.8, 0.7])
    assert answering_rows("the star", values, boxes, best=1) == [1]
    assert answering_rows("the two stars", values, boxes, best=1) == [0, 3]
    assert answering_rows("the three stars", values, boxes, best=1) == [0, 3, 1]
    assert answering_rows("the stars", values, boxes, best=1) == [0, 3]  # 0.5 is less than 0.7 of the best
    assert answering_rows("the six stars", values, boxes, best=1) == [0, 3, 1]
    assert answering_rows("the stars", np.zeros(4), boxes, best=1) == [0, 1, 3]
