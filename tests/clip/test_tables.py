import numpy as np
import torch

from vg_gym.clip.dense import box_sum, summed_area
from vg_gym.clip.tables import lattice_values, table_sums


def random_boxes(rng, *shape):
    low = rng.uniform(0, 0.7, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.01, 0.3, (*shape, 2))], axis=-1).astype(np.float32)


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


def test_lattice_values_interpolate_the_table(rng):
    maps = rng.normal(size=(3, 8, 8, 2)).astype(np.float32)
    table = np.ascontiguousarray(np.moveaxis(summed_area(maps), -1, 1))
    lines = rng.uniform(-0.2, 1.2, (3, 2, 2, 5)).astype(np.float32)
    values = lattice_values(torch.from_numpy(table), torch.from_numpy(lines)).numpy()
    assert values.shape == (3, 2, 2, 5, 5)
    for i, k, q, p in np.ndindex(3, 2, 5, 5):
        box = np.array([[0, 0, *np.clip([lines[i, 0, k, p], lines[i, 1, k, q]], 0, 1)]], np.float32)
        np.testing.assert_allclose(values[i, :, k, q, p], box_sum(summed_area(maps[i : i + 1]), box)[0], atol=1e-4)
