import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym.clip.dense import box_mean, grid_mean, summed_area, unit


def brute_mean(maps, box, samples=400):
    """The mean over a box by sampling the piecewise-constant map on a fine grid, 0 outside the image."""
    grid = maps.shape[0]
    xs = box[0] + (np.arange(samples) + 0.5) / samples * (box[2] - box[0])
    ys = box[1] + (np.arange(samples) + 0.5) / samples * (box[3] - box[1])
    inside = ((ys >= 0) & (ys < 1))[:, None] & ((xs >= 0) & (xs < 1))[None]
    rows, columns = (np.clip((v * grid).astype(int), 0, grid - 1) for v in (ys, xs))
    values = maps[rows][:, columns] * inside[..., None]
    return values.sum((0, 1)) / samples**2, inside.mean()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_box_means_are_integrals_of_the_map(seed):
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(1, 7, 7, 3)).astype(np.float32)
    low, side = rng.uniform(0, 0.6, 2), rng.uniform(0.05, 0.4, 2)
    box = np.concatenate([low, low + side]).astype(np.float32)
    expected, _ = brute_mean(maps[0], box)
    np.testing.assert_allclose(box_mean(summed_area(maps), box[None])[0], expected, atol=0.03)


def test_whole_cells_are_exact(rng):
    maps = rng.normal(size=(2, 8, 8, 5)).astype(np.float32)
    boxes = np.array([[[0.25, 0.5, 0.5, 1.0], [0, 0, 1, 1]]] * 2, np.float32)
    means = box_mean(summed_area(maps), boxes)
    np.testing.assert_allclose(means[:, 0], maps[:, 4:8, 2:4].mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(means[:, 1], maps.mean((1, 2)), atol=1e-5)


def test_a_window_beyond_the_image_sees_zeros(rng):
    maps = rng.normal(size=(3, 6, 6, 2)).astype(np.float32)
    windows = np.tile(np.array([[-0.5, -0.25, 1.5, 1.25], [0.2, 0.1, 0.45, 0.8]], np.float32), (3, 1, 1))
    grids = grid_mean(summed_area(maps), windows, 4)
    assert grids.shape == (3, 2, 4, 4, 2)
    for item in range(3):
        for k in range(2):
            x1, y1, x2, y2 = windows[item, k]
            for row in range(4):
                for column in range(4):
                    cell = [x1 + (x2 - x1) * column / 4, y1 + (y2 - y1) * row / 4]
                    cell += [x1 + (x2 - x1) * (column + 1) / 4, y1 + (y2 - y1) * (row + 1) / 4]
                    expected, _ = brute_mean(maps[item], np.array(cell), 100)
                    np.testing.assert_allclose(grids[item, k, row, column], expected, atol=0.06)


def test_an_item_does_not_depend_on_its_batch(rng):
    maps = rng.normal(size=(9, 8, 8, 4)).astype(np.float32)
    windows = rng.uniform(-0.2, 0.5, (9, 3, 4)).astype(np.float32)
    windows[..., 2:] += 0.6
    table = summed_area(maps)
    together = grid_mean(table, windows, 8)
    for i in range(9):
        np.testing.assert_array_equal(grid_mean(table[i : i + 1], windows[i : i + 1], 8)[0], together[i])


def test_unit_leaves_zero_alone():
    np.testing.assert_allclose(np.linalg.norm(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), axis=1), [1, 0])
