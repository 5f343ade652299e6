"""Files and folders are whole or not there."""

import sys
import threading

import pytest

from vg_gym.storage import files
from vg_gym.storage.files import replacing_folder


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
