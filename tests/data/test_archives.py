"""Archives are unpacked whole or not at all, and nothing leads out of their folder."""

import io
import stat
import zipfile

import pytest

from tests.data.zips import DATA, archive, make_zip
from vg_gym.data.archives import ARCHIVES, IMAGES, Archive, extract
from vg_gym.errors import VGGymError


def packed(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    return tmp_path / "a.zip"


def test_image_archives_go_below_images(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("train2014/x.jpg", b"x")
    images = Archive("a.zip", (), "train2014/", "images/train2014")
    assert (extract(images, packed(tmp_path, buffer.getvalue()), tmp_path) / "x.jpg").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../evil", "refcocog/../../evil", "/tmp/vg_gym_evil", "..\\evil"])
def test_entries_that_lead_out_are_refused(tmp_path, name):
    path = packed(tmp_path, make_zip(**{name: b"evil"}))
    root = tmp_path / "root"
    with pytest.raises(VGGymError, match=r"refused to unpack .*a\.zip: entry .*evil' leads out"):
        extract(archive(), path, root)
    assert list(root.iterdir()) == [] and not (tmp_path / "evil").exists()


def test_links_are_refused(tmp_path):
    buffer = io.BytesIO(DATA)
    with zipfile.ZipFile(buffer, "a") as file:
        link = zipfile.ZipInfo("refcocog/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc")
    with pytest.raises(VGGymError, match="'refcocog/link' leads out"):
        extract(archive(), packed(tmp_path, buffer.getvalue()), tmp_path)


def test_unpacking_is_all_or_nothing(tmp_path):
    damaged = DATA[:150_000] + bytes(1000) + DATA[151_000:]
    for data, message in ((damaged, "cannot unpack"), (b"no zip", "cannot unpack")):
        with pytest.raises(VGGymError, match=message):
            extract(archive(), packed(tmp_path, data), tmp_path / "root")
        assert list((tmp_path / "root").iterdir()) == []
    (tmp_path / "root" / "refcocog").mkdir()
    (tmp_path / "root" / "refcocog" / "mine.txt").write_text("keep me")
    with pytest.raises(VGGymError, match="move .*refcocog away"):
        extract(archive(), packed(tmp_path, DATA), tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").rglob("*.*")] == ["mine.txt"]
    other = Archive("a.zip", (), "captions.json", "other")
    with pytest.raises(VGGymError, match="holds no captions.json"):
        extract(other, packed(tmp_path, DATA), tmp_path / "root")


def test_an_archive_larger_than_the_disk_is_refused(tmp_path, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr("vg_gym.data.archives.shutil.disk_usage", lambda _: Usage)
    with pytest.raises(VGGymError, match="needs 0.0 GB, .* free space"):
        extract(archive(), packed(tmp_path, DATA), tmp_path)


def test_every_published_archive_is_fully_described():
    for name, entry in (*ARCHIVES.items(), ("train2014", IMAGES)):
        assert entry.name == f"{name}.zip" and len(entry.sha256) == 64 and entry.size > 10**7
        assert len(set(entry.mirrors)) >= 2
        assert all(mirror.endswith(f"/{entry.name}") for mirror in entry.mirrors)
