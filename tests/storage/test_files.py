"""Files and folders are whole or not there; fingerprints see contents."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.storage import files
from vg_gym.storage.files import (
    cache_folder,
    cache_place,
    fingerprint,
    make_folder,
    recover_folder,
    replacing,
    replacing_folder,
    temporary_folder,
    write_json,
    write_text,
    writing,
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


def test_a_folder_is_replaced_whole_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "deep" / "model"
    for text in ("first", "second"):
        fill(path, text)
        assert (path / "a").read_text() == text
    (path / "old").touch()
    fill(path, "third")
    assert sorted(p.name for p in path.iterdir()) == ["a", "b"]
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_the_old_folder_stands(tmp_path):
    path = tmp_path / "model"
    fill(path, "old")
    with pytest.raises(KeyboardInterrupt), replacing_folder(path) as part:
        (part / "a").write_text("new")
        raise KeyboardInterrupt
    with pytest.raises(CannotWrite), replacing_folder(path) as part:
        part.rmdir()  # what makes the second rename fail
    assert (path / "a").read_text() == "old" and list(tmp_path.iterdir()) == [path]


def crash_in(function, call, path):
    """Replace a folder in a child process that ends at the given call of a function, as a crash does."""
    calls = iter(range(call))
    owner, name = function
    original = getattr(owner, name)
    child = os.fork()
    if not child:  # pragma: no cover
        setattr(owner, name, lambda *given: os._exit(9) if next(calls, None) is None else original(*given))
        fill(path, "new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "function, call, missing, text",
    [
        ((Path, "rename"), 0, False, "old"),
        ((Path, "rename"), 1, True, "old"),
        ((shutil, "rmtree"), 0, False, "new"),
    ],
)
def test_a_crash_at_any_step_leaves_the_old_or_the_new_folder(tmp_path, function, call, missing, text):
    path = tmp_path / "model"
    fill(path, "old")
    crash_in(function, call, path)
    assert path.exists() != missing
    recover_folder(path)
    assert {p.name: p.read_text() for p in path.iterdir()} == {"a": text, "b": text}
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".old")] == []
    fill(path, "next")
    assert (path / "a").read_text() == "next"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_next_replacement_needs_no_recovery_before_it(tmp_path):
    path = tmp_path / "model"
    fill(path, "old")
    crash_in((Path, "rename"), 1, path)
    with pytest.raises(KeyboardInterrupt), replacing_folder(path):
        assert (path / "a").read_text() == "old"
        raise KeyboardInterrupt
    assert (path / "a").read_text() == "old"


def write_all(path):
    path.write_bytes(b"x" * 10)
    raise OSError(errno.ENOSPC, "No space left on device")


def torch_wraps(path):
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        raise RuntimeError("unexpected pos 704 vs 598")  # noqa: B904 as torch.save does


def safetensors_writes(path):
    save_file({"a": torch.zeros(3)}, path / "no such folder" / "a")


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (write_all, "No space left on device; free some space there"),
        (torch_wraps, "No space left on device; free some space there"),
        (safetensors_writes, "No such file or directory; name another place"),
    ],
)
def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path, write, said):
    with pytest.raises(CannotWrite, match=f"cannot write {tmp_path / 'a'}: {said}"), replacing(tmp_path / "a") as part:
        write(part)
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk_is_named(tmp_path):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    (tmp_path / "a").symlink_to("/dev/full")
    for write in (lambda file: file.write(b"x" * 2**20), lambda file: torch.save({"a": torch.zeros(2**20)}, file)):
        with pytest.raises(CannotWrite, match="No space left"), writing(tmp_path / "a"):
            with (tmp_path / "a").open("wb", buffering=0) as file:
                write(file)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "runs").touch()
    for write in (make_folder, lambda path: fill(path, "new")):
        with pytest.raises(CannotWrite, match="cannot write .*runs.*; name another place"):
            write(tmp_path / "runs" / "mine")


def test_other_errors_pass_as_they_are(tmp_path):
    for error in (VGGymError("an image cannot be read"), RuntimeError("a bug"), BrokenPipeError()):
        with pytest.raises(type(error)) as caught, writing(tmp_path):
            raise error
        assert caught.value is error


def forget_temporary_cache():
    files._temporary_cache().cleanup()
    files._temporary_cache.cache_clear()


def test_without_a_cache_folder_one_of_this_process_serves_and_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_place("features", "a") == tmp_path / "file" / "vg_gym" / "features" / "a"
    (tmp_path / "none").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    files._temporary_cache.cache_clear()
    with pytest.warns(UserWarning, match="cannot write .*none.*set XDG_CACHE_HOME"):
        place = cache_place("features", "a")
    make_folder(place)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_place("features", "b").parent == place.parent
    forget_temporary_cache()
    assert not place.exists()


def test_what_is_in_a_cache_that_cannot_be_written_is_read_from_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fill(tmp_path / "vg_gym" / "weights", "old")
    monkeypatch.setattr(files, "TemporaryFile", lambda dir: os.open("/no such folder/a", os.O_RDWR))
    assert cache_place("weights") == tmp_path / "vg_gym" / "weights"


def test_a_user_without_a_home_has_a_cache(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    files._temporary_cache.cache_clear()
    with pytest.warns(UserWarning, match="no home folder"):
        assert make_folder(cache_place("features")).is_dir()
    forget_temporary_cache()
