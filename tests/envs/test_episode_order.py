import numpy as np
import pytest
import torch

from vg_gym.envs.episode_order import RUN_LENGTH, EpisodeOrder
from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG


def played(order, keys, steps):
    """What rows of some keys play, (steps, N)."""
    rng, rows = CounterRNG(np.array(keys)), np.arange(len(keys))
    return np.array([order(rows, rng) for _ in range(steps)])


def test_a_block_mixes_the_episodes_of_a_few_images():
    order = EpisodeOrder(80_000, 8)
    blocks = played(order, [3], 4 * order.length).reshape(4, -1)
    for block in blocks:
        assert len(set(block // RUN_LENGTH)) == 8 and len(set(block)) == order.length
    assert (np.diff(blocks[0] // RUN_LENGTH) == 0).mean() < 0.5
    assert len(set(blocks.reshape(-1) // RUN_LENGTH)) == 32


def test_rows_play_what_they_would_play_alone():
    together = played(EpisodeOrder(1000, 4), [3, 4, 3], 70)
    np.testing.assert_array_equal(together[:, 0], together[:, 2])
    np.testing.assert_array_equal(together[:, [1]], played(EpisodeOrder(1000, 4), [4], 70))
    assert (together[:, 0] != together[:, 1]).any()


def test_what_comes_is_known():
    order, rng = EpisodeOrder(1000, 2), CounterRNG(np.array([5]))
    for _ in range(6):
        order(np.array([0]), rng)
    coming = order.upcoming(0, rng, 20)
    assert coming == [int(order(np.array([0]), rng)[0]) for _ in range(20)]
    assert EpisodeOrder(1000, 0).upcoming(0, rng, 20) == []


def test_a_seed_begins_anew():
    order, rng = EpisodeOrder(1000, 2), CounterRNG(np.array([5]))
    rng.reseed(0, 11)
    first = [int(order(np.array([0]), rng)[0]) for _ in range(9)]
    rng.reseed(0, 11)
    assert first == [int(order(np.array([0]), rng)[0]) for _ in range(9)]


@pytest.mark.parametrize("pool", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_each_episode_is_equally_likely(count, pool):
    found = np.bincount(played(EpisodeOrder(count, pool), range(3000), 8).reshape(-1), minlength=count)
    assert len(found) == count
    np.testing.assert_allclose(found / found.sum(), 1 / count, rtol=0.08)


def test_tensors_play_what_arrays_play():
    order = EpisodeOrder(1000, 2)
    rngs = [CounterRNG(np.array([3, 4]), device) for device in (None, torch.device("cpu"))]
    for _ in range(10):
        np.testing.assert_array_equal(*[order(np.arange(2), rng) for rng in rngs])


def test_the_engine_plays_in_this_order(shapes, tiny_clip):
    engine = make_engine(2, dataset=shapes, clip=tiny_clip, image_pool=1)
    rng = CounterRNG(np.array([1, 2]))
    images = []
    for _ in range(RUN_LENGTH):
        engine.reset_rows(range(2), rng)
        images.append([query.image.key for query in engine.queries])
    assert all(len(set(column)) == 1 for column in zip(*images, strict=True))
