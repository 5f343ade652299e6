"""gRefCOCO, whose expressions mean none, one or several objects."""

import json

import numpy as np
import pytest

from tests.layouts import SMALL_COPY, make_instances, make_refs, write_layout
from vg_gym import registry
from vg_gym.errors import VGGymError

pytestmark = SMALL_COPY
TARGETS = ([20], [21, 22], [-1], [22, 20, 21], [])
"""Annotations of the refs of image 2, which are those of ``val``."""


def grefs(instances, targets=TARGETS):
    """Refs in gRefCOCO's layout: lists of annotations and categories, and the flag of an empty one."""
    first = next(ref for ref in make_refs(instances, ["val", "train"]) if ref["image_id"] == 2)
    for number, ann_ids in enumerate(targets):
        none = ann_ids in ([], [-1])
        sentences = [
            {
                "sent_id": 10 * number + k,
                "sent": f"expression {number} {k}",
                "raw": "Raw",
                "tokens": [],
                "exist": not none,
            }
            for k in range(2)
        ]
        yield {**first, "ref_id": 900 + number, "ann_id": ann_ids, "category_id": [-1] if none else [7] * len(ann_ids),
               "no_target": none, "sentences": sentences, "sent_ids": [s["sent_id"] for s in sentences]}  # fmt: skip


@pytest.fixture
def root(tmp_path):
    instances = make_instances([(64, 48), (50, 60)])
    return write_layout(tmp_path / "grefcoco", instances, [*grefs(instances)], "grefs(unc).json", ".").parent


def test_every_sentence_has_the_boxes_of_its_annotations(root):
    with pytest.warns(UserWarning, match=r"10 expressions on 1 images; published are 1,500 images"):
        data = registry.open_dataset("grefcoco-unc", "val", root=str(root))
    assert [sample.query.expression for sample in data] == [f"expression {n} {k}" for n in range(5) for k in range(2)]
    boxes = {20: [20, 5, 30, 15], 21: [21, 5, 31, 15], 22: [22, 5, 32, 15]}
    for sample, ann_ids in zip(data, np.repeat(np.array(TARGETS, object), 2), strict=True):
        ids = [number for number in ann_ids if number != -1]
        assert sample.boxes.dtype == np.float32 and sample.boxes.shape == (len(ids), 4)
        assert sample.boxes.tolist() == [boxes[number] for number in ids]
        assert sample.ann_id == (ids[0] if ids else -1) and (sample.image_id, sample.split) == (2, "val")
        assert sample.category == ({20: "zebra", 21: "cat", 22: "dog"}[ids[0]] if ids else "")
        assert sample.query.image.array().shape == (60, 50, 3)
        if len(ids) != 1:
            with pytest.raises(VGGymError, match=f"has {len(ids)} boxes, not one; read sample.boxes"):
                _ = sample.box
    assert len({sample.query.key for sample in data}) == 10 and len(data.objects(2).boxes) == 3
    assert data.means_one().tolist() == [len(sample.boxes) == 1 for sample in data]


def test_repeated_annotations_are_one_target_and_fifty_are_fifty(root):
    instances = make_instances([(64, 48), (50, 60)])
    more = [{**instances["annotations"][3], "id": 500 + k, "bbox": [k / 2, 3, 9, 9]} for k in range(50)]
    instances["annotations"] += more
    refs = [*grefs(instances, ([20, 20, 21], [one["id"] for one in more]))]
    write_layout(root / "grefcoco", instances, refs, "grefs(unc).json", ".")
    data = registry.open_dataset("grefcoco-unc", "val", root=str(root))
    assert [len(sample.boxes) for sample in data] == [2, 2, 50, 50]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ann_id": [20, 999]}, r"ref 900 is annotation 999 of image 2, which the instances\.json beside it lacks"),
        ({"ann_id": [20, 10]}, r"ref 900 is annotation 10 of image 2, which the instances\.json"),
        ({"ann_id": [-1], "no_target": True, "image_id": 7}, r"ref 900 is of image 7, which the instances\.json"),
        ({"no_target": True}, r"ref 900 says no_target=True with the annotations \[20\]"),
        ({"ann_id": [-1]}, r"ref 900 says no_target=False with the annotations \[\]"),
        ({"ann_id": [20, "x"]}, "the id 'x' is not a whole number"),
        ({"ann_id": [20, None]}, "the id None is not a whole number"),
        ({"ann_id": [[20]]}, "does not hold a list of refs"),
        ({"ann_id": None}, "is not a whole number"),
    ],
)
def test_a_wrong_ref_is_an_error_of_one_line(root, change, message):
    instances = make_instances([(64, 48), (50, 60)])
    refs = [*grefs(instances)]
    refs[0].update(change)
    (root / "grefcoco" / "grefs(unc).json").write_text(json.dumps(refs))
    with pytest.raises(VGGymError, match=message) as caught:
        registry.open_dataset("grefcoco-unc", "val", root=str(root))
    assert "\n" not in str(caught.value) and "grefs(unc).json" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b"[1]", b"\xff", b'[{"split": "val"}]', b"null"])
def test_a_file_of_something_else_is_an_error_of_one_line(root, content):
    (root / "grefcoco" / "grefs(unc).json").write_bytes(content)
    with pytest.raises(VGGymError, match=r"grefs\(unc\)\.json") as caught:
        registry.open_dataset("grefcoco-unc", "val", root=str(root))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("default:.*left out")
def test_an_empty_box_leaves_the_whole_expression_out(root):
    instances = make_instances([(64, 48), (50, 60)])
    instances["annotations"][4]["bbox"] = [5, 5, 0, 9]  # annotation 21
    write_layout(root / "grefcoco", instances, [*grefs(instances)], "grefs(unc).json", ".")
    with pytest.warns(UserWarning, match="val: left out 4 expressions with an empty box"):
        data = registry.open_dataset("grefcoco-unc", "val", root=str(root))
    assert [len(sample.boxes) for sample in data] == [1, 1, 0, 0, 0, 0]


def test_without_files_the_error_says_where_they_are(tmp_path):
    with pytest.raises(
        VGGymError, match=r"no grefs\(unc\)\.json.*get both files from https://huggingface\.co/datasets"
    ):
        registry.open_dataset("grefcoco-unc", "val", root=str(tmp_path))
