"""Arrays in shards: whole or absent, resumed, gathered, and checked."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.storage.shards import CHECKSUM_BYTES, MAX_OPEN_SHARDS, STALE_AFTER_S, ShardedArray, computed, even_sizes

SIZES = [4, 1, 3]


@pytest.fixture
def rows(rng):
    return rng.normal(size=(8, 2, 3)).astype(np.float16)


@pytest.fixture
def array(tmp_path, rows):
    array = ShardedArray(tmp_path / "deep" / "store", "x", SIZES, (2, 3))
    for number in (2, 0, 1):
        array.write(number, rows[slice(*array.span(number))])
    return array


def test_rows_are_found_whatever_shard_they_lie_in(array, rows, rng):
    assert array.shape == rows.shape and len(array) == 8 and array.missing() == array.verify() == []
    np.testing.assert_array_equal([array[i] for i in range(8)], rows)
    for index in (rng.integers(0, 8, 20), [7, 0], [], np.array([], int), slice(None), slice(5, 1, -2), (3, 3)):
        np.testing.assert_array_equal(array[index], rows[list(index) if isinstance(index, tuple) else index])
    assert array[np.int64(5)].base is not None and not array[5].flags.writeable
    gathered = array[[1, 2]]
    gathered[:] = 0
    assert array[1].any()


@pytest.mark.parametrize("index", [-1, 8, [0, -1], [8], [True] * 8, [0.0], [[0]]])
def test_what_is_no_row_is_refused(array, index):
    with pytest.raises(IndexError):
        array[index]


def test_a_shard_is_a_plain_npy_file_of_the_announced_size(array, rows):
    np.testing.assert_array_equal(np.load(array.path(0), allow_pickle=False), rows[:4])
    for number in range(3):
        size = array.path(number).stat().st_size
        assert size == array.file_size(number) == 128 + rows[slice(*array.span(number))].nbytes + CHECKSUM_BYTES


def test_missing_shards_are_named_and_others_can_be_read(array, rows):
    array.path(1).unlink()
    again = ShardedArray(array.folder, "x", SIZES, (2, 3))
    assert again.missing() == [1] and again.verify() == []
    np.testing.assert_array_equal(again[[0, 5]], rows[[0, 5]])
    with pytest.raises(VGGymError, match=r"no .*x-00001\.npy; rerun the command that writes it"):
        again[4]
    again.write(1, rows[4:5])
    np.testing.assert_array_equal(again[4], rows[4])


def test_damage_is_found_and_named(array, rows):
    def damage(number, change):
        data = bytearray(array.path(number).read_bytes())
        array.path(number).write_bytes(change(data) or data)

    damage(0, lambda data: data.__setitem__(150, data[150] ^ 1))
    damage(1, lambda data: data[:-3])
    damage(2, lambda data: b"PK" + bytes(len(data) - 2))
    fresh = ShardedArray(array.folder, "x", SIZES, (2, 3))
    assert fresh.verify() == [0, 1, 2] and fresh.missing() == [1]
    fresh[0]  # the checksum is not read at every opening
    for row in (4, 5):
        with pytest.raises(VGGymError, match=r"x-0000\d\.npy.*delete it and rerun"):
            fresh[row]
    other = ShardedArray(array.folder, "x", SIZES, (3, 2))  # same size, other rows
    with pytest.raises(VGGymError, match=r"is not \(4, 3, 2\) float16"):
        other[0]
    pickled = np.array([{}], dtype=object)
    np.save(array.path(1), pickled, allow_pickle=True)
    with pytest.raises(VGGymError, match="cannot read"):
        fresh[4]
    for number in range(3):
        fresh.write(number, rows[slice(*fresh.span(number))])
    assert fresh.verify() == []


def test_wrong_rows_are_not_written(array):
    with pytest.raises(ValueError, match="shard 0"):
        array.write(0, np.zeros((3, 2, 3)))


def test_what_killed_writers_left_is_removed_when_it_is_old(array):
    old, young = array.folder / "x-00000.npy.1.part", array.folder / "x-00001.npy.2.part"
    for part in (old, young):
        part.touch()
    os.utime(old, (time.time() - 2 * STALE_AFTER_S,) * 2)
    array.clean()
    assert not old.exists() and young.exists() and array.missing() == []


def test_no_more_shards_are_open_than_allowed(tmp_path):
    array = ShardedArray(tmp_path, "many", [1] * (MAX_OPEN_SHARDS + 5), (1,), np.float32)
    for number in range(len(array)):
        array.write(number, np.full((1, 1), number))
    assert array[np.arange(len(array))[::-1]][:, 0].tolist() == list(range(len(array)))[::-1]
    assert len(array._maps) <= MAX_OPEN_SHARDS
    assert len(pickle.dumps(array)) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array))[3], array[3])


WRITER = """
import sys, numpy as np
from vg_gym.storage.shards import ShardedArray
array = ShardedArray(sys.argv[1], "x", [50] * 4, (1000,), np.float32)
while True:
    for number in range(4):
        array.write(number, np.full((50, 1000), number))
"""


def test_reading_while_others_write_and_are_killed(tmp_path):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) for _ in range(2)]
    try:
        array = ShardedArray(tmp_path, "x", [50] * 4, (1000,), np.float32)
        until = time.time() + 20
        while array.missing() and time.time() < until:
            time.sleep(0.02)
        for _ in range(30):
            array._maps.clear()
            found = array[[0, 199, 60, 120]]
            assert (found == np.array([0, 3, 1, 2])[:, None]).all()
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
    assert array.missing() == array.verify() == []


def test_computed_rows_are_made_once_and_go_on_where_they_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("vg_gym.storage.shards.COMPUTED_SHARD_BYTES", 1)  # eight rows a shard
    spans, tired = [], [True]

    def make(start, stop):
        if start == 8 and tired:
            raise KeyboardInterrupt
        spans.append((start, stop))
        return np.arange(start, stop)[:, None] * np.ones(3)

    with pytest.raises(KeyboardInterrupt):
        computed(["me"], (3,), 20, make, "rows", progress=False)
    tired.clear()
    for _ in range(2):
        found = computed(["me"], (3,), 20, make, "rows", progress=False)
        assert found.shape == (20, 3) and found.dtype == np.float16 and found[19].tolist() == [19] * 3
    assert spans == [(0, 8), (8, 16), (16, 20)]
    computed(["another"], (3,), 20, make, "rows", progress=False)
    assert len(spans) == 6


def test_even_sizes():
    assert even_sizes(8, 4) == [4, 4] and even_sizes(0, 4) == [] and even_sizes(3, 4) == [3]
