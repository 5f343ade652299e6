"""Arrays of images: computed once, kept, found again."""

import numpy as np

from vg_gym.features.image_arrays import ImageArrays


def test_prepared_arrays_are_found_again_and_others_made(shapes, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []

    def make(images):
        calls.append(len(images))
        return np.stack([image.array()[:2, :2, 0].astype(np.float32) / 3 for image in images])

    images = [sample.query.image for sample in shapes]
    arrays = ImageArrays("corners", "1", (2, 2), np.float32, make)
    first = arrays(images[0])
    assert arrays(images[0]) is first and calls == [1]
    arrays.prepare(images)
    again = ImageArrays("corners", "1", (2, 2), np.float32, make)
    again.prepare(images)
    assert calls == [1, 2]  # two distinct images, made once
    np.testing.assert_array_equal(again(images[0]), first)
    other = ImageArrays("corners", "2", (2, 2), np.float32, make)
    assert other.fingerprint != arrays.fingerprint == again.fingerprint
