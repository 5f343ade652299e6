"""The index beside an annotation file: made once, anew when the source changes, never half there."""

import os
import shutil

import numpy as np
import pytest

from tests.layouts import SMALL_COPY, never, real_data, write_layout
from vg_gym.data import index
from vg_gym.data.annotations import parse_instances
from vg_gym.data.refcoco import find_annotations, open_refcoco

pytestmark = SMALL_COPY


@pytest.fixture
def any_size(monkeypatch, tmp_path):
    """Index files of any size, and a cache of the test's own."""
    monkeypatch.setattr(index, "MIN_INDEXED_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def described(data):
    samples = [(s.query.expression, s.box.tolist(), s.category, s.query.image.key, s.image_id) for s in data]
    return samples, [data.objects(s.image_id).boxes.tolist() for s in data], data.segmentation(data[0].ann_id).tolist()


def test_second_opening_parses_nothing_and_gives_the_same(layout, any_size, monkeypatch):
    first = described(open_refcoco("refcocog-umd", "train", layout[0]))
    folders = sorted(path.name.rsplit(".", 1)[0] for path in (layout[0] / "annotations/.vg_gym_index").iterdir())
    assert folders == ["instances.json", "refs(umd).p"]
    monkeypatch.setattr("vg_gym.data.refcoco.parse_refs", never("parse_refs"))
    monkeypatch.setattr("vg_gym.data.refcoco.parse_instances", never("parse_instances"))
    assert described(open_refcoco("refcocog-umd", "train", layout[0])) == first
    assert len(open_refcoco("refcocog-umd", "val", layout[0])) == 12


def test_a_changed_source_is_read_anew_and_the_old_index_removed(layout, any_size):
    root, instances, refs = layout
    open_refcoco("refcocog-umd", "train", root)
    refs[2]["sentences"][0]["sent"] = "something else"
    write_layout(root, instances, refs)
    data = open_refcoco("refcocog-umd", refs[2]["split"], root)
    assert "something else" in [sample.query.expression for sample in data]
    assert len(list((root / "annotations/.vg_gym_index").iterdir())) == 2


def test_a_damaged_index_is_made_anew_and_runs_no_pickle(layout, any_size, tmp_path):
    expected = described(open_refcoco("refcocog-umd", "train", layout[0]))
    (column,) = (layout[0] / "annotations/.vg_gym_index").glob("refs*/ref_id.npy")

    class Bad:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'victim'}",)

    for damage in (
        lambda: np.save(column, np.array([Bad()], object), allow_pickle=True),
        lambda: column.write_bytes(column.read_bytes()[:-9]),
        lambda: column.write_bytes(b""),
    ):
        damage()
        with pytest.warns(UserWarning, match="the index .* is damaged"):
            data = open_refcoco("refcocog-umd", "train", layout[0])
        assert described(data) == expected
        assert described(open_refcoco("refcocog-umd", "train", layout[0])) == expected
    assert not (tmp_path / "victim").exists()


def test_an_unwritable_folder_sends_the_index_to_the_cache(layout, any_size, tmp_path, monkeypatch):
    annotations = layout[0] / "annotations"
    (annotations / ".vg_gym_index").write_text("a file where the folder should be, so that even root cannot write")
    expected = described(open_refcoco("refcocog-umd", "train", layout[0]))
    assert len(list((tmp_path / "cache/vg_gym/index").glob("*/refs*"))) == 1
    monkeypatch.setattr("vg_gym.data.refcoco.parse_instances", never("parse_instances"))
    assert described(open_refcoco("refcocog-umd", "train", layout[0])) == expected
    monkeypatch.undo()
    monkeypatch.setattr(index, "MIN_INDEXED_BYTES", 0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="no index could be written"):
        assert described(open_refcoco("refcocog-umd", "train", layout[0])) == expected


def test_a_failed_writing_leaves_no_index(layout, any_size, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full_disk)
    with pytest.warns(UserWarning, match="No space left"):
        open_refcoco("refcocog-umd", "train", layout[0])
    assert list((layout[0] / "annotations/.vg_gym_index").iterdir()) == []


def test_small_sources_write_no_index(layout):
    open_refcoco("refcocog-umd", "train", layout[0])
    assert sorted(path.name for path in (layout[0] / "annotations").iterdir()) == ["instances.json", "refs(umd).p"]


def test_real_annotations_through_an_index(tmp_path, any_size):
    shutil.copytree(real_data("refcocog_umd_val"), tmp_path / "copy")
    (tmp_path / "copy").chmod(0o755)
    (tmp_path / "copy/annotations").chmod(0o755)
    direct = list(open_refcoco("refcocog-umd", "val", tmp_path / "copy"))
    again = list(open_refcoco("refcocog-umd", "val", tmp_path / "copy"))
    assert [(s.query, s.box.tolist()) for s in direct] == [(s.query, s.box.tolist()) for s in again]
    place = find_annotations("refcocog-umd", tmp_path / "copy")
    assert (place / ".vg_gym_index").is_dir() and len(parse_instances(place / "instances.json")["ann_id"]) == 2_573
