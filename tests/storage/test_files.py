"""Files and folders are whole or not there; fingerprints see contents."""

import json
import sys
import threading

import pytest

from vg_gym.storage import files
from vg_gym.storage.files import (
    cache_folder,
    fingerprint,
    replacing,
    replacing_folder,
    temporary_folder,
    write_json,
    write_text,
)


def test_a_file_is_replaced_at_the_end_only(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path):
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        assert first != second
        first.write_text("first"), second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"  # the last to end


def test_json_is_strict(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1.5, None]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1.5, None]}
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [1.5, None]}


def test_a_fingerprint_is_of_contents(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    for folder in ("a", "b"):
        (tmp_path / folder / "file").write_text("same")
    assert fingerprint(tmp_path / "a", 1) == fingerprint(tmp_path / "b", 1) == fingerprint(tmp_path / "a" / "file", 1)
    assert fingerprint(tmp_path / "a", 1) != fingerprint(tmp_path / "a", 2)
    (tmp_path / "b" / "file").write_text("other")
    assert fingerprint(tmp_path / "a", 1) != fingerprint(tmp_path / "b", 1)


def test_the_cache_folder_is_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "vg_gym"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "vg_gym")


def test_a_temporary_folder_becomes_the_real_one_or_nothing(tmp_path):
    place = tmp_path / "deep" / "folder"
    with temporary_folder(place) as part:
        (part / "file").write_text("whole")
        assert not place.exists()
        part.rename(place)
    assert (place / "file").read_text() == "whole" and list(place.parent.iterdir()) == [place]
    with pytest.raises(KeyboardInterrupt), temporary_folder(place) as part:
        (part / "file").write_text("half")
        raise KeyboardInterrupt
    assert (place / "file").read_text() == "whole" and list(place.parent.iterdir()) == [place]


def fill(path, text):
    with replacing_folder(path) as part:
        (part / "a").write_text(text)
        (part / "b").write_text(text)


@pytest.mark.parametrize("exchanged", [True, False])
def test_a_folder_is_replaced_whole_and_leaves_nothing_behind(tmp_path, monkeypatch, exchanged):
    if not exchanged:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    path = tmp_path / "deep" / "model"
    for text in ("first", "second"):
        fill(path, text)
        assert (path / "a").read_text() == text
    (path / "old").touch()
    fill(path, "third")
    assert sorted(p.name for p in path.iterdir()) == ["a", "b"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("exchanged", [True, False])
def test_after_an_error_the_old_folder_stands(tmp_path, monkeypatch, exchanged):
    path = tmp_path / "model"
    fill(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing_folder(path) as part:
        (part / "a").write_text("new")
        raise KeyboardInterrupt
    if not exchanged:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
        with pytest.raises(FileNotFoundError), replacing_folder(path) as part:
            part.rmdir()  # what makes the second rename fail
    assert (path / "a").read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges folders")
def test_at_every_moment_there_is_a_folder(tmp_path):
    path, missed, done = tmp_path / "model", [], threading.Event()
    fill(path, "0")

    def watch():
        while not done.is_set():
            if not (path / "a").is_file():
                missed.append(path)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(100):
        fill(path, str(number))
    done.set()
    watcher.join()
    assert not missed
