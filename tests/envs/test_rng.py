import numpy as np
import torch

from vg_gym.envs.rng import CounterRNG


def test_the_hash_is_splitmix64():
    first = CounterRNG(np.array([0])).uniform(np.array([0]), 2)[0]
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]  # its first outputs for seed 0
    np.testing.assert_array_equal(first, [(value >> 11) * 2.0**-53 for value in published])


def test_a_row_does_not_depend_on_the_rows_beside_it():
    together, alone = CounterRNG(np.arange(6)), CounterRNG(np.arange(6))
    rows = np.array([4, 1, 5])
    for count in (3, 1, 4):
        drawn = together.uniform(rows, count)
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(alone.uniform(np.array([row]), count)[0], drawn[i])
    assert together.counters.tolist() == [0, 8, 0, 0, 8, 8]


def test_tensors_draw_what_arrays_draw():
    keys, rows = np.arange(50) * 7, np.arange(0, 50, 3)
    arrays, tensors = CounterRNG(keys), CounterRNG(keys, torch.device("cpu"))
    np.testing.assert_array_equal(tensors.uniform(rows, 5).numpy(), arrays.uniform(rows, 5))
    np.testing.assert_array_equal(tensors.integers(rows, 1000).numpy(), arrays.integers(rows, 1000))
    np.testing.assert_allclose(tensors.normal(rows, 4).numpy(), arrays.normal(rows, 4), atol=1e-12)


def test_the_numbers_are_uniform_normal_and_independent():
    rng, rows = CounterRNG(np.arange(4000)), np.arange(4000)
    drawn = rng.uniform(rows, 8)
    assert 0 <= drawn.min() and drawn.max() < 1
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((counts - 1600) ** 2 / 1600).sum() < 44  # chi squared with 19 degrees of freedom, 0.999 quantile
    assert np.abs(np.corrcoef(drawn.T) - np.eye(8)).max() < 0.06
    normal = rng.normal(rows, 4)
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert abs((normal**3).mean()) < 0.1 and abs((normal**4).mean() - 3) < 0.2


def test_a_new_seed_begins_anew():
    rng = CounterRNG(np.arange(3))
    rng.uniform(np.arange(3), 2)
    rng.reseed(1, 5)
    again = CounterRNG.from_seeds([5])
    np.testing.assert_array_equal(rng.uniform(np.array([1]), 3), again.uniform(np.array([0]), 3))
