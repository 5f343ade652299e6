import os
import pickle
import threading

import numpy as np
import pytest

from vg_gym.storage.array_cache import ArrayCache


def test_arrays_are_there_in_the_next_run(tmp_path, rng):
    first, arrays = ArrayCache(tmp_path / "sub" / "a.sqlite"), rng.random((5, 3, 4)).astype(np.float16)
    for i, array in enumerate(arrays):
        first.put(f"number {i}", array)
    first.close()
    second = pickle.loads(pickle.dumps(first))
    for i, array in enumerate(arrays):
        found = second.get(f"number {i}")
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    assert second.get("number 5") is None
    second.close()


@pytest.mark.parametrize("array", [np.float32(3), np.zeros((0, 2)), np.arange(6).reshape(2, 3).T])
def test_arrays_of_any_shape_and_order_come_back(tmp_path, array):
    cache = ArrayCache(tmp_path / "a.sqlite")
    cache.put("one", array)
    found = cache.get("one")
    np.testing.assert_array_equal(found, array, strict=True)
    cache.close()


def test_the_first_array_of_a_name_stays(tmp_path):
    cache = ArrayCache(tmp_path / "a.sqlite")
    cache.put("one", np.ones(2))
    cache.put("one", np.zeros(2))
    np.testing.assert_array_equal(cache.get("one"), 1)
    cache.close()


def test_a_full_file_takes_nothing_more(tmp_path):
    cache = ArrayCache(tmp_path / "a.sqlite", limit=1)
    cache.put("one", np.ones(2))
    cache.put("two", np.ones(2))
    assert cache.get("one") is not None and cache.get("two") is None
    cache.close()


@pytest.mark.parametrize("obstacle", ["folder", "garbage", "file for a folder"])
def test_a_file_that_cannot_be_used_is_one_warning(tmp_path, obstacle):
    path = tmp_path / "a.sqlite"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "garbage":
        path.write_bytes(b"no database" * 100)
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "a.sqlite"
    cache = ArrayCache(path)
    with pytest.warns(UserWarning, match=r"nothing is stored in .*a\.sqlite"):
        assert cache.get("one") is None
    cache.put("one", np.ones(2))  # no second warning
    assert cache.get("one") is None
    cache.close()


def test_threads_and_forks_share_a_file(tmp_path):
    cache = ArrayCache(tmp_path / "a.sqlite")
    threads = [threading.Thread(target=cache.put, args=(str(i), np.full(9, i))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        cache.put("child", np.ones(1))
        os._exit(int(cache.get("3")[0]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert [int(cache.get(str(i))[0]) for i in range(8)] == list(range(8))
    assert cache.get("child") is not None
    cache.close()
