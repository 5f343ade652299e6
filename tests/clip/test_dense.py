import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym.clip.dense import box_mean, box_sum, l2_normalize, lattice_sums, summed_area


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


def test_unit_leaves_zero_alone():
    np.testing.assert_allclose(np.linalg.norm(l2_normalize(np.array([[3.0, 4.0], [0.0, 0.0]])), axis=1), [1, 0])


def test_a_lattice_of_boxes_has_the_sums_of_its_boxes(rng):
    table = summed_area(rng.normal(size=(5, 5, 3)).astype(np.float32))
    x, y = (np.sort(rng.random((2, n)).astype(np.float32), axis=0) for n in (4, 6))
    boxes = np.stack(np.broadcast_arrays(x[0], y[0][:, None], x[1], y[1][:, None]), axis=-1)
    alone = box_sum(table[None], boxes.reshape(1, -1, 4))[0].reshape(6, 4, 3)
    np.testing.assert_array_equal(lattice_sums(table, x, y), alone)
