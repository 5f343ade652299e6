"""The cache forgets what was used longest ago, by number or by weight."""

import pickle
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from vg_gym.storage.lru_cache import LRUCache


def test_the_least_recently_used_goes_first():
    cache = LRUCache(2)
    cache.add("a", 1)
    cache.add("b", 2)
    assert cache.get("a") == 1
    cache.add("c", 3)
    assert [key in cache for key in "abc"] == [True, False, True] and len(cache) == 2
    assert cache.get("b") is None
    cache.add("a", 4)  # replaced, not added
    assert (len(cache), cache.currsize, cache.get("a"), cache.get("c")) == (2, 2, 4, 3)


def test_weights_bound_what_is_kept():
    cache = LRUCache(10, len)
    for text in ("abcd", "efgh", "ij"):
        cache.add(text, text)
    assert cache.currsize == 10
    cache.add("kl", "kl")
    assert "abcd" not in cache and cache.currsize == 8
    cache.add("x", "x" * 11)  # alone too heavy: it goes, and so does all that had to make room
    assert "x" not in cache and cache.currsize <= 10


def test_missing_values_are_made_in_one_call_each_once():
    cache, asked = LRUCache(10), []

    def make(keys):
        asked.append(list(keys))
        return [key.upper() for key in keys]

    assert cache.get_or_make("abca", make) == {"a": "A", "b": "B", "c": "C"}
    assert cache.get_or_make("bd", make) == {"b": "B", "d": "D"}
    assert cache.get_or_make("ab", make) == {"a": "A", "b": "B"}
    assert asked == [["a", "b", "c"], ["d"]]


def test_more_than_there_is_room_for_is_returned_all_the_same():
    cache = LRUCache(2)
    assert cache.get_or_make("abc", lambda keys: map(str.upper, keys)) == {"a": "A", "b": "B", "c": "C"}
    assert [key in cache for key in "abc"] == [False, True, True]


def test_a_maker_that_makes_too_few_is_found_out():
    with pytest.raises(ValueError, match="zip"):
        LRUCache(2).get_or_make("ab", lambda keys: keys[:1])


def test_threads_may_share_a_cache():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    cache = LRUCache(2)

    def work(seed):
        choose = random.Random(seed)
        for _ in range(2000):
            key = choose.randrange(5)
            assert cache.get_or_make([key], lambda keys: [2 * key for key in keys]) == {key: 2 * key}
            assert cache.get(key) in (None, 2 * key)

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert len(cache) == cache.currsize == 2


def test_a_cache_is_pickled_with_its_values():
    cache = LRUCache(10, len)
    cache.add("a", "aaa")
    copy = pickle.loads(pickle.dumps(cache))
    copy.add("b", "b" * 8)
    assert "a" not in copy and copy.get("b") == "b" * 8 and cache.get("a") == "aaa"


def test_a_value_that_becomes_too_heavy_is_not_stored_and_the_old_one_goes():
    cache = LRUCache(3, len)
    cache.add("a", "aa")
    cache.add("a", "aaaa")
    assert cache.get("a") is None and cache.currsize == 0
