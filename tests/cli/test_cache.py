"""What commands keep on the disk is listed and deleted."""

import pytest

from vg_gym.cli.entry import main
from vg_gym.storage.files import cache_folder


@pytest.fixture
def kept():
    """A cache with two kinds of files."""
    for name, size in {
        "features/a/rows-0.npy": 3_000_000,
        "features/b/rows-0.npy": 500_000,
        "boxes/c.npy": 1000,
    }.items():
        path = cache_folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return cache_folder()


def test_each_kind_is_listed_with_its_size(kept, capsys):
    main(["cache"])
    boxes, features, total = capsys.readouterr().out.splitlines()
    assert features.split()[:3] == ["3.5", "MB", "features"] and boxes.split()[:3] == ["0.0", "MB", "boxes"]
    assert total.split()[:2] == ["3.5", "MB"] and str(kept) in total


def test_one_kind_or_all_is_deleted(kept, capsys):
    main(["cache", "--clear", "features"])
    assert "deleted 3.5 MB" in capsys.readouterr().out
    assert [path.name for path in kept.iterdir()] == ["boxes"]
    main(["cache", "--clear", "all"])
    assert list(kept.iterdir()) == []


def test_an_empty_cache_has_no_size(capsys):
    main(["cache"])
    assert capsys.readouterr().out.split()[:2] == ["0.0", "MB"]
