"""Benchmarks of today on tiny copies in their published layouts."""

import json
import pickle
import re

import numpy as np
import pyarrow.parquet
import pytest

from tests.data.published_layouts import WRITERS, captions
from vg_gym import registry
from vg_gym.data.published_rows import PUBLISHED_ROWS
from vg_gym.errors import VGGymError
from vg_gym.types import GroundingDataset

pytestmark = pytest.mark.filterwarnings("ignore:.*this copy is partial")
BOX = [5.25, 6.5, 25.75, 17.25]
EXPECTED = {
    ("ref-l4", "val"): [("not is_rewrite", [BOX]), ("is_rewrite", [BOX])],
    ("ref-adv-s", "test"): [("use_negation", [BOX]), ("not use_negation", [BOX])],
    ("grounding-me", "test"): [("Spatial", [[5, 6, 25, 17]]), ("Rejection", []), ("Limited", [[5, 6, 25, 17]])],
    ("refcoco-unc-reviewed", "testA"): [("clean", [BOX]), ("mislabeled", [BOX]), ("clean", [BOX])],
    ("refcoco+-unc-reviewed", "val"): [("clean", [BOX]), ("mislabeled", [BOX]), ("clean", [BOX])],
    ("refcocog-umd-reviewed", "test"): [("clean", [BOX]), ("mislabeled", [BOX]), ("clean", [BOX])],
    ("finecops-ref", "test"): [("level 2", [BOX]), ("negative text", []), ("negative image", [])],
    ("finecops-ref", "train"): [("level 2", [BOX]), ("negative text", [])],
    ("humanref", "test"): [
        ("attribute", [[1.5, 2.5, 11.5, 40.5]]),
        ("position", [[40.5, 3.5, 64, 44.5], [20.25, 2.5, 31.5, 41.5]]),
        ("rejection", []),
        ("celebrity", [[20.25, 2.5, 31.5, 41.5]]),
    ],
    ("d3", "test"): [
        ("presence", [[5, 6, 25, 16], [30, 6, 50, 16]]),
        ("absence", [[30, 6, 50, 16]]),
        ("presence", [[1, 2, 64, 32]]),
        ("absence", []),
        ("presence", []),
    ],
}
"""(Data set, split) -> kind and boxes of every sample."""


def opened(name, split, root):
    WRITERS[name](root)
    return registry.open_dataset(name, split, root=str(root))


@pytest.mark.parametrize(("name", "split"), EXPECTED, ids=" ".join)
def test_every_sample_has_its_kind_and_boxes(name, split, tmp_path):
    data = opened(name, split, tmp_path)
    assert isinstance(data, GroundingDataset) and (data.name, data.split) == (name, split)
    assert [(sample.kind, sample.boxes.tolist()) for sample in data] == EXPECTED[name, split]
    for sample in data:
        assert sample.split == split and sample.query.image.array().shape == (48, 64, 3)
        assert sample.boxes.dtype == np.float32 and sample.query.expression
        numbers = data.objects(sample.image_id)
        assert {tuple(box) for box in sample.boxes.tolist()} <= {tuple(box) for box in numbers.boxes.tolist()}
        assert len(set(numbers.ann_ids)) == len(numbers.boxes)
    assert len({sample.query.key for sample in data}) == len({sample.sent_id for sample in data}) == len(data)


@pytest.mark.parametrize("name", WRITERS)
def test_the_spec_says_how_many_objects_are_meant(name, tmp_path):
    WRITERS[name](tmp_path)
    spec = registry.dataset_spec(name)
    counts = {
        len(sample.boxes) for split in spec.splits for sample in registry.open_dataset(name, split, root=str(tmp_path))
    }
    words = {"none": 0 in counts, "one": 1 in counts, "several": max(counts) > 1}
    assert ", ".join(word for word, occurs in words.items() if occurs) == spec.targets


@pytest.mark.filterwarnings("default:.*this copy is partial")
@pytest.mark.parametrize(
    ("name", "split", "size"),
    [("grounding-me", "test", "1,005"), ("ref-adv-s", "test", "1,142"), ("humanref", "test", "6,000"),
     ("finecops-ref", "test", "27,926"), ("refcoco+-unc-reviewed", "testB", "4,889")],
)  # fmt: skip
def test_a_copy_of_another_size_is_said_to_be_partial(name, split, size, tmp_path):
    with pytest.warns(
        UserWarning, match=rf"{re.escape(name)}/{split}.*published are {size}: this copy is partial or altered"
    ):
        opened(name, split, tmp_path)


@pytest.mark.parametrize("name", WRITERS)
def test_splits_and_options_that_do_not_exist_are_named(name, tmp_path):
    with pytest.raises(VGGymError, match=f"no split 'dev'; it has {registry.dataset_spec(name).splits[0]}"):
        opened(name, "dev", tmp_path)
    with pytest.raises(VGGymError, match="(takes no|unknown data set) option"):
        registry.open_dataset(name, registry.dataset_spec(name).splits[-1], root=str(tmp_path), colour="red")


@pytest.mark.parametrize("name", PUBLISHED_ROWS)
def test_without_files_the_error_says_where_they_are(name, tmp_path, monkeypatch):
    split = registry.dataset_spec(name).splits[-1]
    with pytest.raises(
        VGGymError, match=f"no .*json.* for {name.replace('+', '.')}; looked in .*get the files from http"
    ):
        registry.open_dataset(name, split, root=str(tmp_path))
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    with pytest.raises(VGGymError, match="give root=DIR or set VG_GYM_DATA, or get the files from http"):
        registry.open_dataset(name, split)
    WRITERS[name](tmp_path)
    monkeypatch.setenv("VG_GYM_DATA", str(tmp_path))
    assert len(registry.open_dataset(name, split))


def test_pictures_of_ref_l4_are_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    WRITERS["ref-l4"](tmp_path)
    monkeypatch.setattr("vg_gym.data.published_parquet.fetch", lambda repository, files, revision: tmp_path / "ref-l4")
    with pytest.raises(VGGymError, match="ref-l4 holds names of images alone: give root="):
        registry.open_dataset("ref-l4", "val")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "ref-l4" / "images").rename(tmp_path / "pictures" / "images")
    data = registry.open_dataset("ref-l4", "val", root=str(tmp_path / "pictures"))
    assert data[0].query.image.array().shape == (48, 64, 3)


def test_lists_of_boxes_in_parquet(tmp_path):
    boxes = [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4], [5, 6, 9, 9], [1, 2, 3, 4]],
        None,
        [[1, 2, 3]],
        [[k, 0, k + 9, 9] for k in range(50)],
    ]
    rows = [{"image": {"bytes": b"", "path": "a"}, "words": f"it {k}", "where": one} for k, one in enumerate(boxes)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    options = {"image": "image", "expressions": "words", "boxes": "where", "box_format": "xyxy"}
    with pytest.warns(UserWarning, match="left out 2 rows with no box of four finite numbers, the first is row 3"):
        data = registry.open_dataset(f"hub:{tmp_path}", "test", **options)
    assert [len(sample.boxes) for sample in data] == [0, 1, 2, 50]
    with pytest.raises(VGGymError, match="has box=where and boxes=where; give one of them"):
        registry.open_dataset(f"hub:{tmp_path}", "test", **options, box="where")
    with pytest.raises(VGGymError, match="unknown column of .*'nowhere'"):
        registry.open_dataset(f"hub:{tmp_path}", "test", **options, nothing="nowhere=1")


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def in_annotation(**more):
    return lambda content: content["annotations"][0].update(more)


WRONG = [
    ("finecops-ref", "test_expression_all_coco_format.json", in_annotation(image_id=5), "not a COCO annotation file"),
    ("finecops-ref", "test_expression_all_coco_format.json", in_annotation(bbox=None), "annotation 1 is malformed"),
    ("finecops-ref", "test_expression_all_coco_format.json", in_annotation(bbox=[1, 2, 3, 0]), "1: .*is empty"),
    ("finecops-ref", "test_expression_all_coco_format.json", lambda c: c["annotations"][0].pop("level"), "malformed"),
    ("finecops-ref", "test_expression_all_coco_format.json", lambda c: c.pop("images"), "not a COCO annotation file"),
    ("d3", "d3_json/d3_full_annotations.json", in_annotation(bbox=[1, 2]), "do not go together .*take them from one"),
    ("d3", "d3_json/d3_full_annotations.json", lambda c: c["images"].pop(), "do not go together"),
    ("d3", "d3_json/d3_full_annotations.json", lambda c: c["images"][0].update(file_name=7), "description 1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "change", "message"), WRONG)
def test_a_wrong_annotation_is_an_error_of_one_line(name, file, change, message, tmp_path):
    WRITERS[name](tmp_path)
    change_json(tmp_path / PUBLISHED_ROWS[name].folder / file, change)
    with pytest.raises(VGGymError, match=message) as caught:
        registry.open_dataset(name, "test", root=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("answer_boxes", None, 'no "box"'), ("answer_boxes", [[1, 2, 3]], "not four finite"),
     ("referring", "", '"expression"'),
     ("image_name", None, 'no "image"'), ("id", None, '"id"'), ("answer_boxes", 5, "is not a list of boxes"),
     ("candidate_boxes", [[1, 2, 1, 2]], "is empty")],
)  # fmt: skip
def test_a_wrong_row_of_humanref_is_named(field, value, message, tmp_path):
    WRITERS["humanref"](tmp_path)
    path = tmp_path / "humanref" / "annotations.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1][field] = value
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(VGGymError, match=f"annotations.jsonl row 2: .*{message}"):
        registry.open_dataset("humanref", "test", root=str(tmp_path))


def test_pickles_of_d3_run_nothing_and_are_part_of_what_is_read(tmp_path):
    WRITERS["d3"](tmp_path)
    path = tmp_path / "d3" / "d3_pkl" / "groups.pkl"
    path.write_bytes(pickle.dumps(np.int64(3)))
    with pytest.raises(VGGymError, match="refused to read .*groups.pkl: it names numpy"):
        registry.open_dataset("d3", "test", root=str(tmp_path))
    path.unlink()
    with pytest.raises(VGGymError, match=r"d3: .* lacks d3_pkl/groups\.pkl; get the files from https"):
        registry.open_dataset("d3", "test", root=str(tmp_path))


def test_two_readers_of_one_file_do_not_share_an_index(tmp_path, monkeypatch):
    """A file of FineCops-Ref is also one in COCO's style, in which no expression refers to anything."""
    monkeypatch.setattr("vg_gym.data.index.MIN_INDEXED_BYTES", 0)
    path = tmp_path / "finecops-ref" / "test_expression_all_coco_format.json"
    captions(path, [("a.jpg", {"level": 1})])
    assert len(registry.open_dataset(str(path), "all")) == 0
    assert len(registry.open_dataset("finecops-ref", "test", root=str(tmp_path))) == 1


def test_no_attribute_of_an_image_tells_that_nothing_is_meant(tmp_path):
    """FineCops-Ref's negative pictures have names with "neg"."""
    data = opened("finecops-ref", "test", tmp_path)
    images = [sample.query.image for sample in data]
    assert all(image.array().shape[2] == 3 for image in images)
    shown = [text for image in images for text in (repr(image), image.key, str(vars(image)))]
    assert not [text for text in shown if "neg" in text or ".jpg" in text]
    again = pickle.loads(pickle.dumps(images[0]))
    assert again.key == images[0].key and again.size == images[0].size
