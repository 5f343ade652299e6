import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym.clip.region_features import box_mean, box_sum, l2_normalize, summed_area, table_sums


def random_boxes(rng, *shape):
    low = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.01, 0.3, (*shape, 2))], axis=-1).astype(np.float32)


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


def test_a_table_of_each_item_is_read(rng):
    tables = summed_area(rng.normal(size=(3, 5, 5, 4)).astype(np.float32))
    boxes = random_boxes(rng, 3, 6)
    together = box_sum(tables, boxes)
    for i in range(3):
        np.testing.assert_array_equal(box_sum(tables[i : i + 1], boxes[i : i + 1])[0], together[i])
        np.testing.assert_array_equal(box_sum(tables[i : i + 1], boxes[i, :1]), together[i, :1])


def test_sums_are_those_of_the_numpy_tables(rng):
    tables = summed_area(rng.normal(size=(5, 7, 7, 6)).astype(np.float32))
    slots, boxes = rng.integers(5, size=40, dtype=np.int32), random_boxes(rng, 40, 3)
    boxes[0, 0] = [0, 0, 1, 1]
    expected = box_sum(tables[slots], boxes)
    ours = table_sums(tables, slots, boxes)
    assert isinstance(ours, np.ndarray) and ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    tensors = table_sums(torch.from_numpy(tables), torch.from_numpy(slots), torch.from_numpy(boxes))
    np.testing.assert_allclose(tensors.numpy(), ours, atol=2e-5)


def test_an_item_does_not_depend_on_its_batch(rng):
    tables = summed_area(rng.normal(size=(9, 8, 8, 32)).astype(np.float32))
    slots, boxes = np.arange(9, dtype=np.int32), random_boxes(rng, 9, 2)
    together = table_sums(tables, slots, boxes)
    for i in range(9):
        np.testing.assert_array_equal(table_sums(tables, slots[i : i + 1], boxes[i : i + 1])[0], together[i])
