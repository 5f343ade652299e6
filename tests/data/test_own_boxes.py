"""Own data whose expressions mean none, one or several objects."""

import json

import numpy as np
import pytest

from tests.data.own import write_images, write_rows
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset

pytestmark = pytest.mark.filterwarnings("ignore:.*has no .split.")
SIZE = {"width": 64, "height": 48}
LEFT, RIGHT = [0, 0, 32, 48], [32, 0, 64, 48]


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path


def row(number=0, **more):
    return {"image": f"images/{number}.png", "expression": "it", **more}


def opened(folder, *rows):
    return open_dataset(str(write_rows(folder / "mine.jsonl", rows)), "all")


def test_rows_have_no_one_or_several_boxes(folder):
    data = opened(folder, row(boxes=[]), row(box=LEFT), row(boxes=[RIGHT, LEFT]), row(1, boxes=[LEFT]))
    assert data.labeled and [sample.boxes.tolist() for sample in data] == [[], [LEFT], [RIGHT, LEFT], [LEFT]]
    assert all(sample.boxes.dtype == np.float32 and sample.boxes.shape[1:] == (4,) for sample in data)
    objects = data.objects(data[0].image_id)
    assert sorted(objects.boxes.tolist()) == [LEFT, RIGHT] and len(set(objects.ann_ids)) == 2
    by_id = dict(zip(objects.ann_ids, objects.boxes.tolist(), strict=True))
    assert by_id[data[1].ann_id] == LEFT and by_id[data[2].ann_id] == RIGHT and data[0].ann_id not in by_id
    assert data.objects(data[3].image_id).boxes.tolist() == [LEFT]
    for number in (0, 2):
        with pytest.raises(VGGymError, match="boxes, not one; read sample.boxes"):
            _ = data[number].box


@pytest.mark.parametrize("sizes", [{}, SIZE])
def test_every_frame_and_format(folder, sizes):
    data = opened(
        folder,
        row(boxes=[[16, 12, 32, 24], [0, 0, 8, 8]], box_format="xywh", **sizes),
        row(boxes=[[0.25, 0.25, 0.75, 0.75], [0, 0, 0.125, 1 / 6]], frame="normalised", **sizes),
        row(boxes=[], frame="0-1000", **sizes),
    )
    assert [sample.boxes.round(3).tolist() for sample in data] == [[[16, 12, 48, 36], [0, 0, 8, 8]]] * 2 + [[]]
    assert len(data.objects(data[0].image_id).boxes) >= 2


def test_an_unreadable_image_makes_all_boxes_nan_and_leaves_an_empty_answer(folder):
    gone = {"image": "images/9.png", "expression": "it", "frame": "normalised"}
    data = opened(folder, {**gone, "boxes": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]}, {**gone, "boxes": []})
    assert data[0].boxes.shape == (2, 4) and np.isnan(data[0].boxes).all() and data[1].boxes.shape == (0, 4)
    with pytest.raises(VGGymError, match=r"no image 9\.png"):
        data.objects(data[0].image_id)


def test_fifty_boxes_are_fifty(folder):
    boxes = [[k, 0, k + 9, 40] for k in range(50)]
    data = opened(folder, *(row(boxes=boxes[k:], split="test") for k in range(50)), row(boxes=[], split="test"))
    assert [len(sample.boxes) for sample in data] == [*range(50, -1, -1)] and data[0].boxes.tolist() == boxes
    assert len(data.objects(data[0].image_id).boxes) == 50


def test_numbers_of_objects_in_the_file_are_kept(folder):
    data = opened(folder, row(boxes=[LEFT, RIGHT], ann_id=2**63 - 1), row(boxes=[], ann_id=7), row(box=RIGHT, ann_id=3))
    assert [sample.ann_id for sample in data] == [2**63 - 1, 7, 3]
    objects = data.objects(data[0].image_id)
    assert dict(zip(objects.ann_ids, objects.boxes.tolist(), strict=True)) == {2**63 - 1: LEFT, 3: RIGHT}
    unnamed = opened(folder, row(boxes=[LEFT, RIGHT], ann_id=4)).objects(0)
    assert unnamed.ann_ids[1] == 4 and unnamed.ann_ids[0] < 0


WRONG = [
    (row(boxes=LEFT), "is not four finite numbers"),
    (row(boxes=None), 'no "box", which rows before it have'),
    (row(boxes={"x": 1}), "is not a list of boxes; write \\[\\] if nothing is meant"),
    (row(boxes="[]"), "is not a list of boxes"),
    (row(boxes=[LEFT, [1, 2, 3]]), r'"boxes": \[1, 2, 3\] is not four finite numbers'),
    (row(boxes=[LEFT, [1, 2, True, 4]]), "is not four finite numbers"),
    (row(boxes=[LEFT, [1, 2, 10**400, 4]]), "is not four finite numbers"),
    (row(boxes=[[]]), "is not four finite numbers"),
    (row(boxes=[None]), "is not four finite numbers"),
    (row(boxes=[LEFT, LEFT]), r"\[0\.0, 0\.0, 32\.0, 48\.0\] is there twice; give each object once"),
    (row(boxes=[LEFT, [9, 9, 9, 20]]), r"\[9\.0, 9\.0, 9\.0, 20\.0\] is empty"),
    (row(boxes=[LEFT, [20, 20, 70, 40]], **SIZE), "leaves the image.*64, 48"),
    (row(boxes=[LEFT, [20, 20, 70, 40]]), 'leaves the image, 64 x 48 pixels; say the "frame"'),
    (row(boxes=[LEFT, [0, 0, 0.5, 1]]), 'less than a pixel; say "frame": "normalised"'),
    (row(boxes=[], box=LEFT), 'has "box" and "boxes"; give one of them'),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_wrong_row_is_named_in_one_line(folder, wrong, message):
    with pytest.raises(VGGymError, match=f"mine.jsonl row 2: .*{message}") as caught:
        opened(folder, row(boxes=[RIGHT]), wrong)
    assert "\n" not in str(caught.value)


COCO = {
    "images": [{"id": 1, "file_name": "images/0.png", **SIZE}, {"id": 2, "file_name": "images/1.png"}],
    "annotations": [
        {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 32, 48], "expression": "the left cup"},
        {"id": 6, "image_id": 1, "category_id": 1, "bbox": [32, 0, 32, 48]},
        {"id": 8, "image_id": 2, "category_id": 1, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 1, "name": "cup"}],
}


def coco(folder, *expressions):
    path = folder / "mine.json"
    path.write_text(json.dumps({**COCO, "expressions": expressions}))
    return open_dataset(str(path), "all")


def test_a_file_in_coco_style_lists_expressions_of_any_number_of_objects(folder):
    data = coco(
        folder,
        {"id": 5, "image_id": 1, "expression": "the cups", "ann_ids": [6, 5], "kind": "plural"},
        {"id": 6, "image_id": 1, "expression": "the plate", "ann_ids": []},
        {"id": "x", "image_id": 2, "expression": "the cup", "ann_ids": [8]},
    )
    assert [sample.boxes.tolist() for sample in data] == [[LEFT], [RIGHT, LEFT], [], [[1, 2, 4, 6]]]
    assert [sample.query.key for sample in data] == ["mine/5", "mine/e5", "mine/e6", "mine/ex"]
    assert [sample.ann_id for sample in data][:2] == [5, 6] and [s.kind for s in data] == ["", "plural", "", ""]
    assert [sample.category for sample in data] == ["cup", "cup", "", "cup"]
    objects = data.objects(1)
    assert objects.ann_ids == (5, 6) and objects.boxes.tolist() == [LEFT, RIGHT]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"id": 1, "image_id": 3, "ann_ids": []}, "expression 1: no image has the id 3"),
        ({"id": 1, "image_id": 1, "ann_ids": [9]}, r'"ann_ids": \[9\] is not a list of ids of annotations'),
        ({"id": 1, "image_id": 1, "ann_ids": 5}, '"ann_ids": 5 is not a list of ids'),
        ({"id": 1, "image_id": 1, "ann_ids": [[5]]}, "is not a list of ids"),
        ({"id": 1, "image_id": 1}, '"ann_ids": None is not a list of ids'),
        ({"id": 1, "image_id": 1, "ann_ids": [5, 8]}, "are not all in image 1"),
        ({"id": 1, "image_id": 1, "ann_ids": [5, 5], "expression": "it"}, "is there twice"),
        ({"id": 1, "image_id": 1, "ann_ids": [5]}, '"expression"'),
        ({"image_id": 1, "ann_ids": [5]}, 'number 1 of "expressions" is not an object with an "id"'),
        (7, 'number 1 of "expressions" is not an object with an "id"'),
    ],
)
def test_a_wrong_expression_in_coco_style_is_named(folder, expression, message):
    with pytest.raises(VGGymError, match=f"mine.json.*{message}") as caught:
        coco(folder, expression)
    assert "\n" not in str(caught.value)


def csv(folder, text):
    (folder / "mine.csv").write_text(text)
    return open_dataset(str(folder / "mine.csv"), "all")


def test_a_csv_file_has_boxes_as_json_or_as_corners(folder):
    data = csv(
        folder,
        "image,expression,boxes,kind,width,height\n"
        'images/0.png,"the cups, both","[[0, 0, 32, 48], [32, 0, 64, 48]]",plural,64,48\n'
        "images/0.png,the plate,[],absent,,\n",
    )
    assert [sample.boxes.tolist() for sample in data] == [[LEFT, RIGHT], []] and data.labeled
    assert [sample.query.expression for sample in data] == ["the cups, both", "the plate"]
    assert [sample.kind for sample in data] == ["plural", "absent"]
    data = csv(folder, ",image,expression,x1,y1,x2,y2\n0,images/0.png,it,0,0,32,48\n")
    assert data[0].box.tolist() == LEFT
    assert not csv(folder, "image,expression\nimages/0.png,it\n").labeled


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no row"),
        ("image,expression\n", "holds no row"),
        ("image,expression\nimages/0.png\n", "row 2 has not as many cells as the first line"),
        ("image,expression\nimages/0.png,it,more\n", "row 2 has not as many cells"),
        ("image,expression,box\nimages/0.png,it,[1\n", r"row 2: \"box\": '\[1' is not four finite numbers"),
        ("image,expression,boxes\nimages/0.png,it,none\n", "row 2: .*is not a list of boxes"),
        ("image,expression,x1,y1,x2,y2\nimages/0.png,it,1,2,a,4\n", "row 2: .*is not four finite numbers"),
        ("image,expression,width\nimages/0.png,it,a\n", "row 2: \"width\": 'a' is not a whole number"),
        ('image,expression\nimages/0.png,"it\n', "is not a CSV file in UTF-8"),
        ("image\nimages/0.png\n", 'row 2: no "expression"'),
        ("image,expression,image\na,it,b\n", "has two columns 'image'"),
    ],
)
def test_a_wrong_csv_file_is_an_error_of_one_line(folder, text, message):
    with pytest.raises(VGGymError, match=f"mine.csv.*{message}") as caught:
        csv(folder, text)
    assert "\n" not in str(caught.value)
