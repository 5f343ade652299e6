import os
import time

import numpy as np
import pytest
from PIL import Image

from vg_gym.data import content
from vg_gym.data.content import digest_of, digest_of_file
from vg_gym.data.images import FileImage


def edit(path, data):
    """Write other bytes of the same length and set the old time of change."""
    about = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_an_edit_of_equal_size_and_time_is_another_digest(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert digest_of_file([tmp_path / "none", path]) == digest_of(b"one")
    edit(path, b"two")
    assert digest_of_file([path]) == digest_of(b"two") != digest_of(b"one")
    assert digest_of_file([tmp_path / "none", tmp_path]) == ""


def test_an_old_file_is_hashed_once_and_again_after_an_edit(tmp_path, monkeypatch):
    path, later = tmp_path / "a", time.time_ns() + 10**10
    path.write_bytes(b"one")
    monkeypatch.setattr(content.time, "time_ns", lambda: later)
    monkeypatch.setattr(content, "_cache", {})
    hashed, reads = content._hashed, []
    monkeypatch.setattr(content, "_hashed", lambda place: reads.append(place) or hashed(place))
    assert {digest_of_file([path]) for _ in range(3)} == {digest_of(b"one")} and len(reads) == 1
    time.sleep(0.05)  # more than a step of the file system's clock
    edit(path, b"two")
    assert digest_of_file([path]) == digest_of(b"two") and len(reads) == 2


@pytest.mark.parametrize("suffix", ["bmp", "png"])
def test_the_key_of_an_image_is_of_its_bytes_its_name_and_how_it_is_turned(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (4, 4), "red").save(path)
    image = FileImage(path, "set/a")
    keys = {image.key, FileImage(path, "set/b").key, FileImage(path, "set/a", None, (), "stored").key}
    keys |= {FileImage(path, "set/a", (4, 4)).key, image.key}
    assert len(keys) == 4 and all("@set/" in key for key in keys)
    before = image.key
    edited = np.zeros((4, 4, 3), np.uint8)
    edited[0, 0] = 255
    Image.fromarray(edited).save(path)
    assert image.key != before
