"""Box search against four nested loops, against the published search, and for ties."""

import json
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

from vg_gym.baselines.box_search import best_box, max_sum_box, shifted

CASES = range(7)
SINGLE = 1e-7
"""The published value of a box has its area's share in float32."""


def box_value(heat, box, alpha):
    """The value of a box in whole cells."""
    x1, y1, x2, y2 = np.asarray(box).astype(int)
    return shifted(heat, alpha)[y1:y2, x1:x2].sum()


def brute_force(values, least=(1, 1), most=None):
    """The best box by four nested loops, in the order of the tie rule."""
    height, width = values.shape
    most = most or (width, height)
    best, found = -np.inf, None
    for y1 in range(height):
        for y2 in range(y1 + least[1], min(y1 + most[1], height) + 1):
            for x2 in range(least[0], width + 1):
                for x1 in range(x2 - least[0], max(x2 - most[0], 0) - 1, -1):
                    total = values[y1:y2, x1:x2].sum()
                    if total > best:
                        best, found = total, (x1, y1, x2, y2)
    return found, best


def test_brute_force_on_whole_numbers_with_ties(rng):
    """Small whole numbers: most maps have several best boxes, and sums have no rounding."""
    for _ in range(300):
        values = rng.integers(-2, 3, rng.integers(1, 8, 2)).astype(float)
        box, total = max_sum_box(values)
        assert (tuple(box.tolist()), total) == brute_force(values)


def test_brute_force_with_sizes(rng):
    for _ in range(300):
        height, width = rng.integers(2, 9, 2)
        values = rng.integers(-2, 3, (height, width)).astype(float)
        least = int(rng.integers(1, width + 1)), int(rng.integers(1, height + 1))
        most = int(rng.integers(least[0], width + 1)), int(rng.integers(least[1], height + 1))
        box, total = max_sum_box(values, least, most)
        assert (tuple(box.tolist()), total) == brute_force(values, least, most)


def test_brute_force_on_heat_maps(rng):
    for _ in range(150):
        heat = rng.random(rng.integers(2, 9, 2)) ** 4
        alpha = float(rng.uniform(0, 2))
        box, value = best_box(heat, alpha)
        found, best = brute_force(shifted(heat, alpha), (2, 2))
        assert value == pytest.approx(best, abs=1e-12)
        assert tuple(box.astype(int).tolist()) == found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((3, 4)), (0, 0, 1, 1)),  # all equal: the first and smallest
        (np.array([[1, 0, 1], [0, 0, 0]]), (0, 0, 3, 1)),  # the zeros between are free, those below not needed
        (np.array([[1, -1, 1]]), (0, 0, 1, 1)),  # left of two
        (np.array([[0, 1]]), (1, 0, 2, 1)),  # the narrowest
        (np.array([[-3, -1], [-1, -3]]), (1, 0, 2, 1)),  # all negative: the least bad cell, topmost
    ],
)
def test_ties(values, expected):
    assert tuple(max_sum_box(values)[0].tolist()) == expected


def test_the_value_is_that_of_the_box(rng):
    heat = rng.random((9, 12))
    box, value = best_box(heat, 0.9)
    x1, y1, x2, y2 = box.astype(int)
    by_hand = heat[y1:y2, x1:x2].sum() / heat.sum() - 0.9 * (x2 - x1) * (y2 - y1) / 108
    assert value == pytest.approx(by_hand, abs=1e-9)


def test_sizes_are_width_then_height(rng):
    heat = rng.random((20, 30))
    box, _ = best_box(heat, 5.0, min_side=(7, 3))
    assert (box[2:] - box[:2]).tolist() == [7, 3]
    box, _ = best_box(heat, 0.0, max_side=(5, 9))
    assert (box[2:] - box[:2]).tolist() == [5, 9]


@pytest.mark.parametrize(("least", "most"), [(5, None), (0, None), (3, 2), ((1, 5), None)])
def test_no_box_fits(least, most):
    with pytest.raises(ValueError, match="no box"):
        best_box(np.ones((4, 6)), 0.5, least, most)


def test_not_finite():
    with pytest.raises(ValueError, match="finite"):
        best_box(np.full((4, 4), np.nan), 0.5)


def test_a_large_map_is_quick(rng):
    """224 x 224 has 630 million boxes; the measured 0.03 s has room here for a busy machine."""
    heat = rng.random((224, 224))
    start = time.perf_counter()
    best_box(heat, 1.0)
    assert time.perf_counter() - start < 5


def exhaustive(heat, alpha, edges):
    """Best inclusive box with edges from four lists, first in the order x1, y1, x2, y2."""
    table = np.pad(heat.cumsum(0).cumsum(1), [(1, 0), (1, 0)])
    x1, y1, x2, y2 = np.ix_(*[np.asarray(edge) for edge in edges])
    inside = table[y2 + 1, x2 + 1] - table[y1, x2 + 1] - table[y2 + 1, x1] + table[y1, x1]
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    values = np.where((x2 > x1) & (y2 > y1), inside / (heat.sum() + 1e-8) - alpha * area / heat.size, -np.inf)
    place = np.unravel_index(values.argmax(), values.shape)
    return [int(edge[i]) for edge, i in zip(edges, place, strict=True)], float(values.max())


def coarse_to_fine(heat, alpha, shrink=8):
    """The published search: exhaustive on a shrunk map, then within ``shrink`` cells of each edge found."""
    height, width = heat.shape
    small = F.interpolate(
        torch.from_numpy(heat)[None, None], size=(height // shrink, width // shrink), mode="bilinear"
    )[0, 0].numpy()
    rows, columns = range(small.shape[0]), range(small.shape[1])
    coarse, _ = exhaustive(small, alpha, [columns, rows, columns, rows])
    edges = [
        np.arange(max(edge * shrink - shrink, 0), min(edge * shrink + shrink, size - 1) + 1)
        for edge, size in zip(coarse, (width, height) * 2, strict=True)
    ]
    return coarse, *exhaustive(heat, alpha, edges)


@pytest.fixture(scope="module")
def published(parity):
    folder = parity / "adapting_clip"
    cases = json.loads((folder / "box_search.json").read_text())["cases"]
    return cases, load_file(folder / "box_search.safetensors")


@pytest.mark.parametrize("number", CASES)
def test_published_search(published, number):
    cases, tensors = published
    case, heat = cases[number], tensors[f"case{number}.map"]
    coarse, box, value = coarse_to_fine(heat, case["alpha"])
    assert coarse == case["f64.coarse_box"]
    assert box == case["f64.box"] == case["f32.box"]
    assert value == pytest.approx(case["f64.score"], abs=SINGLE)


@pytest.mark.parametrize("number", CASES)
def test_exact_is_no_worse_than_published(published, number):
    cases, tensors = published
    case, heat = cases[number], tensors[f"case{number}.map"]
    box, value = best_box(heat, case["alpha"])
    theirs = np.array([case["f64.box"]]) + [0, 0, 1, 1]  # right and bottom inclusive
    published_value = box_value(heat, theirs[0], case["alpha"])
    assert published_value == pytest.approx(case["f64.score"], abs=SINGLE)
    assert value >= published_value - 1e-12
    if "exhaustive_f64.box" in case:
        assert (box - [0, 0, 1, 1]).tolist() == case["exhaustive_f64.box"]
        assert value == pytest.approx(case["exhaustive_f64.score"], abs=SINGLE)


def test_exact_beats_coarse_to_fine_somewhere(published):
    cases, tensors = published
    gains = [best_box(tensors[f"case{i}.map"], cases[i]["alpha"])[1] - cases[i]["f64.score"] for i in CASES]
    assert max(gains) > 1e-4


def test_exact_is_no_worse_than_coarse_to_fine_on_random_maps(rng):
    for _ in range(10):
        heat = rng.random((32, 40)) ** 3
        alpha = float(rng.uniform(0.5, 1.5))
        assert best_box(heat, alpha)[1] >= coarse_to_fine(heat, alpha)[2] - 1e-12
