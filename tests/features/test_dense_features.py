import os
import pickle
import threading

import numpy as np
import pytest
import torch

from vg_gym.data.images import ArrayImage
from vg_gym.envs.factory import make_engine
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import VGGymError
from vg_gym.features.dense_features import DenseFeatures
from vg_gym.storage.array_cache import ArrayCache


@pytest.fixture
def images(rng):
    return [ArrayImage(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]


@pytest.fixture
def encoded(tiny_clip, monkeypatch):
    """Names of the threads in which images are encoded."""
    names, original = [], type(tiny_clip).encode_dense

    def encode(self, images):
        names.append(threading.current_thread().name)
        return original(self, images)

    monkeypatch.setattr(type(tiny_clip), "encode_dense", encode)
    return names


def test_what_was_asked_for_ahead_of_time_is_the_same(tiny_clip, images, encoded):
    alone, ahead = DenseFeatures(tiny_clip, None), DenseFeatures(tiny_clip, None)
    ahead.look_ahead(images)
    for image in images:
        np.testing.assert_array_equal(ahead(image), alone(image))
    assert len(encoded) == 8 and any(name.startswith("vg_gym looks ahead") for name in encoded)


def test_wishes_lapse(tiny_clip, images, encoded, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # with four, all images would be begun at once
    began, go_on = threading.Event(), threading.Event()
    features, original = DenseFeatures(tiny_clip, None), ArrayImage.array

    def slow(self):
        began.set()
        go_on.wait(10)
        return original(self)

    monkeypatch.setattr(ArrayImage, "array", slow)
    features.look_ahead(images)
    began.wait(10)
    features.look_ahead([])
    go_on.set()
    features._threads.shutdown()
    assert len(encoded) == 1


def test_an_image_that_cannot_be_read_is_an_error_where_it_is_needed(tiny_clip, images, monkeypatch):
    def broken(self):
        raise VGGymError("broken")

    features = DenseFeatures(tiny_clip, None)
    monkeypatch.setattr(ArrayImage, "array", broken)
    features.look_ahead(images)
    with pytest.raises(VGGymError, match="broken"):
        features(images[0])
    features._threads.shutdown(cancel_futures=True)


def test_the_next_run_reads_them(tiny_clip, images, encoded, tmp_path):
    found = [DenseFeatures(tiny_clip, ArrayCache(tmp_path / "a.sqlite"))(images[0]) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    assert len(encoded) == 1


def test_copies_and_children_look_ahead_too(tiny_clip, images):
    features = DenseFeatures(tiny_clip, None)
    features.look_ahead(images[:1])
    first = features(images[0])
    copy = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(copy(images[0]), first)
    child = os.fork()
    if child == 0:
        features.look_ahead(images)
        os._exit(features(images[1]).shape[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == tiny_clip.grid


def test_a_second_environment_encodes_nothing(shapes, tiny_clip, encoded):
    def play():
        engine, rng = make_engine(1, dataset=shapes, clip=tiny_clip), CounterRNG(np.array([0]))
        seen = []
        for _ in range(8):
            engine.reset_rows([0], rng)
            seen.append({name: values.copy() for name, values in engine.observe().items()})
        return seen

    first = play()
    count = len(encoded)
    second = play()
    assert count == 2 and len(encoded) == count
    for a, b in zip(first, second, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
