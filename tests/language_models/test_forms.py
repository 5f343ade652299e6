"""Forms of boxes that models write: each is read rightly, or not at all."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vg_gym.frames import FRAMES, place
from vg_gym.language_models.box_text import find_boxes

BOX = [10.0, 20.0, 30.0, 40.0]
READ = [
    "<ref>dog</ref><box>10 20 30 40</box>",
    "<ref>player [1, 2, 3, 4]</ref><box>[[10, 20, 30, 40]]</box>",
    "<|ref|>dog<|/ref|><|det|>[[10, 20, 30, 40]]<|/det|>",
    "<|begin_of_box|>[[10,20,30,40]]<|end_of_box|>",
    "[[010,020,030,040]]",
    "<bbox>10 20 30 40</bbox>",
    "<box>(10,20),(30,40)</box>",
    "<box><xmin>10</xmin><ymin>20</ymin><xmax>30</xmax><ymax>40</ymax></box>",
    '<box x1="10" y1="20" x2="30" y2="40"/>',
    '{"bbox_2d": ["10", "20", "30", "40"]}',
    '{"bbox": "10, 20, 30, 40"}',
    '["dog", [10, 20, 30, 40]]',
    '["dog", 10, 20, 30, 40]',
    "[10\uff0c20\uff0c30\uff0c40]",
    "[10, 20, 30, 40, 0.97]",
    "[1e1, 2E1, 3.0e+1, 40.]",
    "x1=10, x2=30, y1=20, y2=40",
    "left=10, top=20, right=30, bottom=40",
    "Image width=640, height=480; box left=10, top=20, right=30, bottom=40",
    '{"ymin": 20, "xmin": 10, "ymax": 40, "xmax": 30}',
    '{"x0": 10, "y0": 20, "x1": 30, "y1": 40}',
    '{"left": 10, "top": 20, "width": 20, "height": 20}',
    '{"cx": 20, "cy": 30, "w": 20, "h": 20}',
    '{"bbox_xywh": [10, 20, 20, 20]}',
    '{"top_left": [10, 20], "bottom_right": [30, 40]}',
    '{"bbox": {"top_left": {"x": 10, "y": 20}, "bottom_right": {"x": 30, "y": 40}}}',
    '{"polygon": [{"x": 10, "y": 20}, {"x": 30, "y": 25}, {"x": 20, "y": 40}]}',
    '{"objects": [{"name": "dog", "bounding_box": {"x_min": 10, "y_min": 20, "x_max": 30, "y_max": 40}}]}',
    '{"color": [1, 2, 3, 4], "bbox": [10, 20, 30, 40]}',
    '{"label": "dog [1, 2, 3, 4]", "bbox_2d": [10, 20, 30, 40]}',
    r"{\"bbox_2d\": [10, 20, 30, 40]}",
    "{bbox: [10, 20, 30, 40], label: 'dog'}",
    r"\boxed{[10, 20, 30, 40]}",
    "The **[10, 20, 30, 40]** is rgba(1, 2, 3, 4).",
    "from (10, 20) to (30, 40)",
    "[[10,20],[30,25],[20,40]]",
    "<|quad_start|>(10,20),(30,25),(28,40),(12,38)<|quad_end|>",
]
NOT_READ = [
    "(10, 20), (30, 20), and (30, 40)",
    "(10, 20), (30, 20) then (30, 40)",
    "Box (x, y, width, height): [10, 20, 20, 20]",
    '{"x": 10, "y": 20, "width": 20, "height": 20}',
    "[ymin, xmin, ymax, xmax] = [20, 10, 40, 30]",
    "[x1, x2, y1, y2] = [10, 30, 20, 40]",
    '[{"box_2d": [20, 10, 40, 30], "label": "dog"}]',
    '[{"box_2d": [20, 10, 40, 30], "label": "do',
    "COCO format: [10, 20, 20, 20]",
    "[10%, 20%, 30%, 40%]",
    "[10, 20, 30, 40] %",
    "[10, 20, 30, 40] px",
    "x1=10%, y1=20%, x2=30%, y2=40%",
    "left: 10px; top: 20px; right: 30px; bottom: 40px",
    '<points x1="10" y1="20" x2="30" y2="40" alt="dogs">dogs</points>',
    '[{"point_2d": [10, 20]}, {"point_2d": [30, 40]}]',
    '{"points": [[10, 20], [30, 40]]}',
    "<|box_start|>(10,20)<|box_end|>",
    "<object><patch_index_0044><patch_index_0863></object>",
    "dog<loc_10><loc_20><loc_30><loc_40>",
    '{"x1": 1, "y1": 2, "x2": 3, "y2": 4, "x3": 5, "y3": 6}',
    "x1=1, y1=2, x2=3, y2=4, x3=5, y3=6",
    "(640, 480), (10, 20), (30, 40)",
    "[10,20,30,20,30,40,10,40]",
    "[[010,020,030,040;050,060,070,080]]",
    "[NaN, 20, 30, 40]",
    "[1e999, 20, 30, 40]",
    "[null, 20, 30, 40]",
    "[10-20-30-40]",
    "[0,1; 0,2; 0,3; 0,4]",
    "[1,024, 20, 1,300, 40]",
    '{"bbox_3d": [1, 2, 3, 4, 5, 6, 7, 8, 9]}',
    '{"image_id": 1, "category_id": 3, "bbox": [10, 20, 20, 20], "score": 0.9}',
    "[10, 20, 30, 4",
    "f[1, 2](3) [10and 20]",
    "[" * 3000 + "{" * 3000,
]


@pytest.mark.parametrize("text", READ)
def test_what_has_one_meaning_is_read(text):
    assert find_boxes(text, "0-1000") == [BOX]


@pytest.mark.parametrize("text", NOT_READ)
def test_what_has_another_meaning_or_none_is_not_read(text):
    assert find_boxes(text, "0-1000") == []


def test_box_2d_is_read_in_the_frame_that_has_y_first():
    text = '[{"box_2d": [100, 100, 900, 300], "label": "dog"}]'
    (said,) = find_boxes(text, "0-1000-yx")
    np.testing.assert_allclose(place(said, "0-1000-yx", (1600, 900)), [160, 90, 480, 810])
    assert all(find_boxes(text, name) == [] for name, frame in FRAMES.items() if not frame.vertical_first)
    named = '{"xmin": 100, "ymin": 200, "xmax": 300, "ymax": 400}'
    assert find_boxes(named, "0-1000-yx") == [[200, 100, 400, 300]]
    for text in ('{"bbox_2d": [1, 2, 3, 4]}', "[x1, y1, x2, y2]: [1, 2, 3, 4]", '{"bbox_xywh": [1, 2, 3, 4]}'):
        assert find_boxes(text, "0-1000-yx") == []


def test_words_of_places_are_read_in_fours():
    assert find_boxes("<loc0001><loc0002><loc0003>", "loc1024") == []
    assert find_boxes("<loc0001><loc0002><loc0003><loc0004><loc0005><loc0006>", "loc1024") == []
    assert find_boxes("<loc0001><loc0002><loc0003><loc1024>", "loc1024") == []
    assert find_boxes("<loc_1><loc_2><loc_3><loc_4> dog", "loc") == [[1, 2, 3, 4]]


def test_several_boxes_are_in_their_order():
    two = [[10, 20, 30, 40], [1, 2, 3, 4]]
    for text in (
        '[{"bbox_2d": [10,20,30,40]}, {"bbox_2d": [1,2,3,4]}]',
        "<box>(10,20),(30,40)</box><box>(1,2),(3,4)</box>",
        "[10, 20, 30, 40], [1, 2, 3, 4]",
        "<box>[[10, 20, 30, 40], [1, 2, 3, 4]]</box>",
    ):
        assert find_boxes(text, "0-1000") == two, text


@given(st.text(alphabet='[](){}<>",:;=.-+xy12e%\\ \n', max_size=60))
def test_any_text_is_read_without_an_error(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for box in find_boxes(text, "0-1000"):
            assert len(box) == 4 and np.isfinite(box).all()
