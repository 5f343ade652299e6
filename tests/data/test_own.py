import json
import warnings

import numpy as np
import pytest
from PIL import Image

from tests.data.own import rows, write_images, write_rows
from tests.layouts import never
from vg_gym.data import index, own, own_files
from vg_gym.data import rows as data_rows
from vg_gym.data.images import read_image
from vg_gym.errors import ImageError, VGGymError
from vg_gym.registry import open_dataset
from vg_gym.types import GroundingDataset, MayLack


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path


def opened(path, split="all", **options):
    return open_dataset(str(path), split, **options)


def test_rows_become_samples_in_the_order_of_the_file(folder):
    given = rows(category="cup", split="test", kind="size")
    data = opened(write_rows(folder / "mine.jsonl", given), "test")
    assert isinstance(data, GroundingDataset) and isinstance(data, MayLack) and data.labeled
    assert (data.name, data.split, data.splits, data.categories, len(data)) == (
        "mine.jsonl", "test", ("test",), ("cup",), 6)  # fmt: skip
    sample = data[4]
    assert sample.query.key == "mine/5" and sample.query.expression == "the thing number 4"
    assert sample.query.image.size == (64, 48) and sample.query.image.array().shape == (48, 64, 3)
    assert sample.box.tolist() == [0, 0, 32, 48] and sample.box.dtype == np.float32
    assert (sample.category, sample.kind, sample.split, sample.sent_id) == ("cup", "size", "test", 5)
    assert data[1].image_id == sample.image_id != data[0].image_id
    assert data[1].ann_id == sample.ann_id == data[-2].ref_id, "the same box on the same image is the same object"
    assert len({s.query.key for s in data[:]}) == 6
    objects = data.objects(sample.image_id)
    assert objects.boxes.tolist() == [[0, 0, 32, 48]] and objects.categories == ("cup",)
    assert objects.ann_ids == (sample.ann_id,)


def test_two_folders_share_no_image_keys(folder, tmp_path):
    first = opened(write_rows(folder / "mine.jsonl", rows()))[0].query.image
    other = tmp_path / "other"
    write_images(other / "images")
    second = opened(write_rows(other / "mine.jsonl", rows()))[0].query.image
    assert first.key != second.key
    assert opened(folder / "mine.jsonl", root=str(other))[0].query.image.key == second.key


def test_frames_and_formats_are_what_the_row_says(folder):
    size = {"width": 64, "height": 48}
    boxes = [
        {"box": [16, 12, 48, 36]},
        {"box": [16, 12, 32, 24], "box_format": "xywh"},
        {"box": [32, 24, 32, 24], "box_format": "cxcywh", "frame": "pixels"},
        {"box": [0.25, 0.25, 0.75, 0.75], "frame": "normalised"},
        {"box": [250, 250, 750, 750], "frame": "0-1000"},
        {"box": [250, 250, 500, 500], "frame": "0-1000", "box_format": "xywh", **size},
        {"box": [0.5, 0.5, 0.5, 0.5], "frame": "normalised", "box_format": "cxcywh", **size},
    ]
    given = [{"image": "images/0.png", "expression": "it", **box} for box in boxes]
    data = opened(write_rows(folder / "mine.jsonl", given))
    for sample in data:
        np.testing.assert_allclose(sample.box, [16, 12, 48, 36], atol=1e-4)
        assert sample.box.dtype == np.float32
    assert data.objects(0).boxes.shape == (len({s.ann_id for s in data}), 4)


def test_what_is_said_once_holds_for_all_rows(folder):
    first = {"defaults": {"frame": "0-1000", "box_format": "xywh", "split": "test"}}
    row = {"image": "images/0.png", "expression": "it", "box": [250, 250, 500, 500]}
    path = write_rows(folder / "mine.jsonl", [first, row, {**row, "box": [0, 0, 32, 48], "frame": "pixels"}])
    data = opened(path, "test")
    assert [s.box.tolist() for s in data] == [[16, 12, 48, 36], [0, 0, 32, 48]]
    with pytest.raises(VGGymError, match='"defaults" is an object of frame'):
        opened(write_rows(folder / "mine.jsonl", [{"defaults": {"image": "a"}}, row]))


GOOD = {"image": "images/0.png", "expression": "it", "box": [0, 0, 32, 48]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"expression": None, "caption": "it"}, 'no "expression"; it has box, caption, image'),
        ({"expression": "  "}, '"expression": \'  \' is not a text'),
        ({"expression": 3}, '"expression": 3 is not a text'),
        ({"image": None}, 'no "image"'),
        ({"image": "http://x/y.jpg"}, "is not the path of a file"),
        ({"image": "a\0.jpg"}, "is not the path of a file"),
        ({"box": [1, 2, 3]}, "is not four finite numbers"),
        ({"box": [1, 2, "3", 4]}, "is not four finite numbers"),
        ({"box": [1, 2, True, 4]}, "is not four finite numbers"),
        ({"box": [1, 2, 10**400, 4]}, "is not four finite numbers"),
        ({"box": {"x": 1}}, "is not four finite numbers"),
        ({"box": [30, 20, 30, 40]}, "is empty"),
        ({"box": [30, 20, 10, 10]}, 'is empty.*"box_format"'),
        ({"box": [-5, 20, 30, 40]}, "leaves the image"),
        ({"box": [5, 20, 30, 60], "width": 64, "height": 48}, "leaves the image.*64, 48"),
        ({"box": [0, 0, 1.5, 1], "frame": "normalised"}, "leaves the image"),
        ({"box": [0, 0, 0.5, 1]}, 'less than a pixel; say "frame": "normalised"'),
        ({"box": None}, 'no "box", which rows before it have'),
        ({"box": None, "bbox": [1, 2, 3, 4]}, '"bbox" means several things'),
        ({"frame": "percent"}, "none of pixels, normalised, 0-1000"),
        ({"frame": ["pixels"]}, "none of pixels"),
        ({"box_format": "ltrb"}, "none of xyxy, xywh, cxcywh, yxyx"),
        ({"width": 64}, "both or none"),
        ({"width": 0, "height": 0}, "from 1 on"),
        ({"width": 64.5, "height": 48}, "not a whole number"),
        ({"split": "test"}, 'has "split", which rows before it lack'),
        ({"id": "a"}, 'has "id", which rows before it lack'),
        ({"image_id": 3}, 'has "image_id", which'),
        ({"width": -1, "height": -1}, "not a whole number from 0 on"),
        ({"category": 3}, '"category": 3 is not a text'),
        ({"expression": "\ud800"}, "surrogates not allowed"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(folder, change, reason):
    path = write_rows(folder / "mine.jsonl", [GOOD, GOOD, {**GOOD, **change}])
    with pytest.raises(VGGymError, match=f"mine.jsonl row 3: .*{reason}") as caught:
        opened(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "row 2 is not JSON"),
        (b'{"image": "images/0.png", "expression": "it", "box": [NaN, 0, 1, 2]}', "row 2 is not JSON.*NaN"),
        (b'{"image": "images/0.png", "expression": "it", "box": [0, 0, 1e999, 2]}', "row 2: .*not four finite"),
        (b"[1, 2]", "row 2: is not an object"),
        (json.dumps(GOOD).encode() * 2, "row 2 is not JSON .more than one value"),
        (b"[" * 100_000, "row 2 is not JSON"),
        (b"\xff\xfe", "row 2 is not UTF-8"),
        (b"x" * (1 << 20) + b"x", "row 2 is longer"),
    ],
)
def test_a_line_that_is_no_row_is_named(folder, line, reason):
    path = folder / "mine.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")
    with pytest.raises(VGGymError, match=reason):
        opened(path)


def mixed(count):
    """Rows of several shapes, in runs of one and of many, with and without letters beyond ASCII."""
    extra = (
        {},
        {"category": "Tasse ü"},
        {"frame": "normalised", "box": [0, 0, 0.5, 1]},
        {"kind": "size", "category": None},
    )
    return [{**GOOD, "expression": f"thing {i} {'ä' * (i % 3)}", "id": i if i % 2 else f"é{i}", **extra[i // 7 * i % 4]}
            for i in range(count)]  # fmt: skip


def test_rows_taken_together_are_those_taken_one_by_one(folder, monkeypatch):
    path = write_rows(folder / "mine.jsonl", mixed(400))
    together = own_files.parse_json_lines(path)
    monkeypatch.setattr(data_rows, "MAX_BATCH_ROWS", 1)
    alone = own_files.parse_json_lines(path)
    assert together.keys() == alone.keys()
    for name, column in alone.items():
        assert column.dtype == together[name].dtype, name
        np.testing.assert_array_equal(together[name], column, err_msg=name)


def test_of_many_rows_the_first_wrong_one_is_named(folder):
    given = mixed(3000)
    given[1777]["expression"], given[1778]["image"], given[2500]["box"] = " ", 3, [1]
    with pytest.raises(VGGymError, match="row 1778: \"expression\": ' ' is not a text"):
        opened(write_rows(folder / "mine.jsonl", given))
    path = write_rows(folder / "mine.jsonl", given[1770:])
    path.write_bytes(path.read_bytes().replace(b"thing 1790", b'"thing 1790', 1))
    with pytest.raises(VGGymError, match="row 8: "):
        opened(path)


def test_rows_with_one_id_clash(folder):
    named = [{**GOOD, "id": name} for name in ("a", "b", "17")]
    assert [s.query.key for s in opened(write_rows(folder / "mine.jsonl", named))] == ["mine/a", "mine/b", "mine/17"]
    assert [s.sent_id for s in opened(folder / "mine.jsonl")] == [18, 19, 17]
    with pytest.raises(VGGymError, match='row 4: has the same "id" as row 2'):
        opened(write_rows(folder / "mine.jsonl", [*named, {**GOOD, "id": "b"}]))
    with pytest.raises(VGGymError, match='row 4: has the same "id" as row 3'):
        opened(write_rows(folder / "mine.jsonl", [*named, {**GOOD, "sent_id": 17}]))


def test_blank_lines_and_a_byte_order_mark_are_passed_over(folder):
    path = folder / "mine.jsonl"
    path.write_text("\ufeff" + json.dumps(GOOD) + "\r\n\r\n" + json.dumps({**GOOD, "expression": "ärmel"}))
    assert [(s.query.key, s.query.expression) for s in opened(path)] == [("mine/1", "it"), ("mine/3", "ärmel")]
    for empty in ("", "\n\n"):
        path.write_text(empty)
        with pytest.raises(VGGymError, match="holds no row"):
            opened(path)


def test_splits_are_those_that_rows_name(folder):
    given = [{**row, "split": "train" if i % 2 else "test"} for i, row in enumerate(rows())]
    path = write_rows(folder / "mine.jsonl", given)
    assert [len(opened(path, split)) for split in ("train", "test", "all")] == [3, 3, 6]
    assert [s.split for s in opened(path)][:2] == ["test", "train"]
    with pytest.raises(VGGymError, match="no split 'val'; it has test, train, and all"):
        opened(path, "val")
    with pytest.raises(VGGymError, match="row 1: .*'all' is reserved"):
        opened(write_rows(folder / "mine.jsonl", rows(split="all")))


def test_without_splits_all_rows_serve_and_it_is_said_once(folder):
    path = write_rows(folder / "mine.jsonl", rows())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert [len(opened(path, split)) for split in ("train", "val", "all")] == [6, 6, 6]
    assert len(caught) == 1 and 'has no "split": all its 6 rows' in str(caught[0].message)
    assert opened(path).splits == ()


def test_rows_without_boxes_have_none(folder):
    path = write_rows(folder / "mine.jsonl", [{"image": "images/0.png", "expression": "it"}])
    data = opened(path)
    assert not data.labeled and np.isnan(data[0].box).all() and data.categories == () and data[0].category == ""
    assert len(data.objects(0).boxes) == 0
    half = [{**GOOD, "split": "train"}, {"image": "images/0.png", "expression": "it", "split": "test"}]
    write_rows(path, half)
    assert opened(path, "train").labeled and not opened(path, "test").labeled and not opened(path).labeled


def test_boxes_in_the_wrong_frame_are_found_at_opening(folder):
    path = write_rows(folder / "mine.jsonl", [{**GOOD, "box": [100, 100, 900, 900]}])
    with pytest.raises(VGGymError, match=r"row 1: .*64 x 48 pixels; say the \"frame\""):
        opened(path)


def test_a_missing_image_hinders_nobody_else(folder):
    gone = {"image": "images/gone.png", "expression": "it"}
    given = [{**gone, "box": [0, 0, 9, 9]}, {**gone, "box": [0, 0, 0.5, 1], "frame": "normalised"}, GOOD]
    data = opened(write_rows(folder / "mine.jsonl", given))
    assert data[0].box.tolist() == [0, 0, 9, 9] and np.isnan(data[1].box).all() and data.labeled
    with pytest.raises(ImageError, match="no image gone.png"):
        data[1].query.image.array()
    with pytest.raises(ImageError, match="no image gone.png"):
        data.objects(data[0].image_id)
    assert len(data.objects(data[2].image_id).boxes) == 1


def test_a_large_file_is_mapped_at_the_next_opening(folder, monkeypatch):
    monkeypatch.setattr(index, "MIN_INDEXED_BYTES", 0)
    path = write_rows(folder / "mine.jsonl", rows(category="cup"))
    first = opened(path)[:]
    assert list((folder / ".vg_gym_index").iterdir())
    monkeypatch.setitem(own.PARSERS, ".jsonl", never("parse_json_lines"))
    again = opened(path)
    assert [(s.query.key, s.query.expression, s.category, s.ann_id) for s in again] == [
        (s.query.key, s.query.expression, s.category, s.ann_id) for s in first
    ]
    np.testing.assert_array_equal(again[3].box, first[3].box)


COCO = {
    "images": [{"id": 7, "file_name": "images/0.png", "width": 64, "height": 48, "split": "test"}],
    "annotations": [
        {"id": 3, "image_id": 7, "category_id": 1, "bbox": [16, 12, 32, 24], "expressions": ["a cup", "the cup"]},
        {"id": 4, "image_id": 7, "category_id": 2, "bbox": [0, 0, 10, 10]},
        {"id": 5, "image_id": 7, "category_id": 2, "bbox": [0, 0, 20, 10], "iscrowd": 1},
        {"id": 6, "image_id": 7, "category_id": 2, "bbox": [0, 0, 20, 20], "expression": "the bowl"},
    ],
    "categories": [{"id": 1, "name": "cup"}, {"id": 2, "name": "bowl"}],
}


def test_coco_style_files_are_read(folder):
    path = folder / "mine.json"
    path.write_text(json.dumps(COCO))
    data = opened(path, "test")
    assert [s.query.key for s in data] == ["mine/3-0", "mine/3-1", "mine/6"]
    assert data[1].query.expression == "the cup" and data[1].box.tolist() == [16, 12, 48, 36]
    assert (data[1].category, data[1].ann_id, data[1].image_id) == ("cup", 3, 7)
    objects = data.objects(7)
    assert objects.ann_ids == (3, 4, 6) and objects.categories == ("cup", "bowl", "bowl")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"annotations": [{"id": 1, "image_id": 9, "expression": "it"}]}, "annotation 1: no image has the id 9"),
        ({"annotations": [{"id": 1, "image_id": [], "expression": "it"}]}, "annotation 1: no image has the id"),
        ({"annotations": [{"image_id": 7}]}, 'number 1 of "annotations" is not an object with an "id"'),
        ({"annotations": COCO["annotations"] + COCO["annotations"][-1:]}, 'annotation 5: has the same "id" as annotat'),
        ({"annotations": [{"id": 1, "image_id": 7, "expression": ""}]}, "annotation 1: .*not a text"),
        ({"annotations": [{"id": 1, "image_id": 7, "expressions": "it"}]}, 'annotation 1: "expressions" is a list'),
        ({"annotations": []}, "holds no annotation"),
        ({"images": COCO["images"] * 2}, "share an id"),
        ({"images": {}}, "not an object with the lists"),
        ({"categories": 3}, '"categories" is not a list'),
        ({"defaults": {"box_format": "yx"}}, "annotation 1: .*none of xyxy"),
    ],
)
def test_a_wrong_annotation_is_named(folder, change, reason):
    path = folder / "mine.json"
    path.write_text(json.dumps({**COCO, **change}))
    with pytest.raises(VGGymError, match=reason):
        opened(path)


@pytest.mark.parametrize("text", ["", "[1]", "3", '{"images": ', '{"images": [1], "annotations": [2]}'])
def test_a_json_file_of_something_else_is_refused(folder, text):
    path = folder / "mine.json"
    path.write_text(text)
    with pytest.raises(VGGymError, match="mine.json"):
        opened(path)


def test_files_that_are_not_there_and_names_that_are_none():
    with pytest.raises(VGGymError, match="no such file; correct the path"):
        open_dataset("gone.jsonl", "test")
    with pytest.raises(VGGymError, match="unknown data set 'mine.jsnl'.*FILE.jsonl"):
        open_dataset("mine.jsnl", "test")
    with pytest.raises(VGGymError, match="takes no options"):
        open_dataset("gone.jsonl", "test", seed=1)


def test_an_edited_image_is_another_in_caches(folder):
    path = write_rows(folder / "mine.jsonl", rows())
    first = opened(path, "all")[0].query.image
    key, again = first.key, opened(path, "all")[0].query.image.key
    assert key == again
    pixels = first.array()
    Image.fromarray(255 - pixels).save(first.path)
    assert opened(path, "all")[0].query.image.key != key


# Ids


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        ([2, 7, 1], [2, 7, 1]), (["2", "7", "1"], [2, 7, 1]), (["2", "x", 3], [2, 4, 3]), (["2", "02", "3"], [1, 2, 3]),
        (["9" * 30, "2", "3"], [4, 2, 3]), (["x", 1, 2], [3, 1, 2]), (["-2", "2", "3"], [4, 2, 3]),
        (["x", "y", "2"], [3, 4, 2]),
        (["000", "001", "x"], [0, 1, 2]), (["x", "y", "z"], [1, 2, 3]), (["9" * 18, "x", "1"], [10**18 - 1, 10**18, 1]),
    ],
)  # fmt: skip
def test_no_two_rows_share_a_sent_id(folder, ids, numbers):
    named = [{**row, "id": name} for row, name in zip(rows(3), ids, strict=True)]
    assert [s.sent_id for s in opened(write_rows(folder / "mine.jsonl", named))] == numbers


@pytest.mark.parametrize("ids", [(5, 6), ("5", "6"), (5, "x"), ("x", "y")])
@pytest.mark.parametrize("images", [(1, 2), (1, "b"), ("a", "b")])
def test_coco_style_with_ids_of_several_kinds(folder, ids, images):
    boxes = ([0, 0, 32, 48], [8, 8, 16, 16])
    annotations = [
        {"id": name, "image_id": image, "bbox": box, "expressions": ["the thing", "it"]}
        for name, image, box in zip(ids, images, boxes, strict=True)
    ]
    content = {
        "images": [{"id": image, "file_name": f"images/{i}.png"} for i, image in enumerate(images)],
        "annotations": annotations,
    }
    (folder / "mine.json").write_text(json.dumps(content))
    data = opened(folder / "mine.json")
    assert len({s.sent_id for s in data}) == len({s.query.key for s in data}) == 4
    assert len({s.ann_id for s in data}) == len({s.image_id for s in data}) == 2
    assert [s.box.tolist() for s in data[::2]] == [[0, 0, 32, 48], [8, 8, 24, 24]]


def test_one_image_by_several_spellings(folder):
    names = ("images/0.png", "./images/0.png", "images//0.png", "images/./0.png", "images/1.png")
    data = opened(write_rows(folder / "mine.jsonl", [{**rows(1)[0], "image": name} for name in names]))
    assert [s.image_id for s in data] == [0, 0, 0, 0, 1] and len({s.query.image.key for s in data}) == 2


# Bytes


def test_lines_end_at_newlines_alone_and_marks_of_order_are_passed_over(folder):
    texts = ["the\u2028thing", "the\u2029thing", "the\x85thing", "the\x0bthing"]
    lines = [json.dumps({**rows(1)[0], "expression": text}, ensure_ascii=False).encode() for text in texts]
    (folder / "mine.jsonl").write_bytes(
        b"\xef\xbb\xbf" + b"\r\n".join(lines[:2]) + b"\n\xef\xbb\xbf" + b"\n".join(lines[2:])
    )
    assert [s.query.expression for s in opened(folder / "mine.jsonl")] == texts
    content = {"images": [{"id": 1, "file_name": "images/0.png"}],
               "annotations": [{"id": 5, "image_id": 1, "bbox": [0, 0, 9, 9], "expressions": texts}]}  # fmt: skip
    (folder / "mine.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False).encode())
    assert [s.query.expression for s in opened(folder / "mine.json")] == texts


# Turned pictures


def turned(path, orientation, size=(60, 40)):
    """Save a picture whose stored pixels are white in the left half."""
    pixels, exif = np.zeros((size[1], size[0], 3), np.uint8), Image.Exif()
    pixels[:, : size[0] // 2], exif[0x0112] = 255, orientation
    Image.fromarray(pixels).save(path, exif=exif)


def white(sample):
    x1, y1, x2, y2 = map(int, sample.box)
    return float(sample.query.image.array()[y1:y2, x1:x2].mean()) / 255


UPRIGHT_BOXES = {
    1: [0, 0, 30, 40], 2: [30, 0, 60, 40], 3: [30, 0, 60, 40], 4: [0, 0, 30, 40], 6: [0, 0, 40, 30], 8: [0, 30, 40, 60],
}  # fmt: skip
"""EXIF orientation -> the box of the white half in the upright picture."""


@pytest.mark.parametrize("orientation", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("said", ["stored", "upright"])
def test_rows_or_options_say_what_boxes_refer_to(folder, orientation, said):
    turned(folder / "images" / "0.png", orientation)
    box = [0, 0, 30, 40] if said == "stored" else UPRIGHT_BOXES[orientation]
    row = {**rows(1)[0], "box": box}
    path = write_rows(folder / "mine.jsonl", [row])
    with pytest.raises(
        VGGymError, match=rf"mine.jsonl row 1: .*0\.png has the EXIF orientation {orientation}, and not"
    ):
        opened(path)
    (sample,) = opened(path, orientation=said)
    assert white(sample) == 1
    for named in ([{**row, "orientation": said}], [{"defaults": {"orientation": said}}, row]):
        (sample,) = opened(write_rows(folder / "mine.jsonl", named))
        assert white(sample) == 1


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_size_that_differs_says_it_too(folder, orientation):
    turned(folder / "images" / "0.png", orientation)
    for width, height, box in ((60, 40, [0, 0, 30, 40]), (40, 60, UPRIGHT_BOXES[orientation])):
        row = {**rows(1)[0], "box": box, "width": width, "height": height}
        (sample,) = opened(write_rows(folder / "mine.jsonl", [row]))
        if (width, height) == (60, 40) or orientation > 1:
            assert white(sample) == 1 and sample.query.image.size == (width, height)


@pytest.mark.parametrize("orientation", [2, 3, 4, 6, 8])
def test_coco_style_refers_to_stored_pixels_and_rows_without_boxes_to_none(folder, orientation):
    turned(folder / "images" / "0.png", orientation)
    content = {"images": [{"id": 1, "file_name": "images/0.png"}],
               "annotations": [{"id": 5, "image_id": 1, "bbox": [0, 0, 30, 40], "expression": "it"}]}  # fmt: skip
    (folder / "mine.json").write_text(json.dumps(content))
    assert white(opened(folder / "mine.json")[0]) == 1
    bare = {key: value for key, value in rows(1)[0].items() if key != "box"}
    (sample,) = opened(write_rows(folder / "mine.jsonl", [bare]))
    np.testing.assert_array_equal(sample.query.image.array(), read_image(folder / "images" / "0.png"))


def test_words_for_orientation_are_two(folder):
    path = write_rows(folder / "mine.jsonl", [{**rows(1)[0], "orientation": "left"}])
    with pytest.raises(VGGymError, match="\"orientation\": 'left' is none of stored, upright"):
        opened(path)
    with pytest.raises(VGGymError, match="unknown orientation 'left'"):
        opened(write_rows(folder / "mine.jsonl", rows(1)), orientation="left")
