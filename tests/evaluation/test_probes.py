import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation import probes
from vg_gym.types import Query


def test_cells_and_slopes():
    corners = np.array([[0, 0, 0.2, 0.2], [0.8, 0.8, 1, 1], [0.4, 0.4, 0.6, 0.6]], np.float32)
    assert probes.cells(corners).tolist() == [0, 8, 4]
    assert probes.center_slope(corners, corners) == pytest.approx(1)
    same = np.tile(corners[2:], (3, 1))
    assert probes.center_slope(same, corners) == pytest.approx(0, abs=1e-6)
    assert probes.by_cell(np.array([1.0, 0.0, 0.6]), corners) == [1.0, None, None, None, 1.0, None, None, None, 0.0]
    assert probes.prior_gap(np.array([1.0, 0.0, 1.0]), corners, corners[0]) == pytest.approx(0.5)


def test_spoiled_expressions():
    queries = [Query(None, text, str(i)) for i, text in enumerate(["a red star", "the left ring", "big cross"])]
    assert {q.expression for q in probes.altered(queries, "empty")} == {"object"}
    shuffled = probes.altered(queries, "shuffled", 3)
    assert [sorted(q.expression.split()) for q in shuffled] == [sorted(q.expression.split()) for q in queries]
    swapped = probes.altered(queries, "swapped", 1)
    assert sorted(q.expression for q in swapped) == sorted(q.expression for q in queries)
    assert list(swapped) == list(probes.altered(queries, "swapped", 1))
    assert not {q.key for q in swapped} & {q.key for q in queries}


def test_the_gap_of_a_planted_prior():
    ious = np.array([0.9, 0.9, 0.6, 0.1, 0.2, 0.8, 0.3, 0.9])
    agrees = [True, True, True, True, False, False, False, None]
    found = probes.planted_gap(ious, agrees, groups=range(8))
    assert found["agree"] == 0.75 and found["conflict"] == pytest.approx(1 / 3) and found["n_conflict"] == 3
    assert found["gap"] == pytest.approx(0.75 - 1 / 3)
    low, high = found["gap_ci"]
    assert low < found["gap"] < high
    assert probes.planted_gap(ious, [None] * 8, range(8)) is None
    assert probes.planted_gap(ious, [True] * 8, range(8)) is None


def test_an_unknown_probe_is_refused():
    with pytest.raises(VGGymError, match="unknown probe 'swaped': did you mean 'swapped'"):
        probes.altered([], "swaped")
