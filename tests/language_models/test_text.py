import pytest

from vg_gym.errors import VGGymError
from vg_gym.language_models.box_text import answer_part, find_boxes, find_outline

BOX = [10.0, 20.0, 30.0, 40.0]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n[\n\t{"bbox_2d": [10, 20, 30, 40], "label": "the cat"}\n]\n```',
        '[{"bbox_2d": [10, 20, 30, 40], "label": "unfinis',
        "<ref>the cat</ref><box>[[10, 20, 30, 40]]</box>",
        "<|object_ref_start|>the cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>",
        "The cat is at (10, 20, 30, 40).",
        '{"x1": 10, "y1": 20, "x2": 30, "y2": 40}',
        "x_min=10 y_min=20 x_max=30 y_max=40",
        "<think>perhaps [1, 2, 3, 4]</think>\n<answer>{'bbox': [10.0, 20.0, 30.0, 40.0]}</answer>",
        "<think>perhaps [1, 2, 3, 4]</think> [10 20 30 40]",
    ],
)
def test_texts_that_models_write(text):
    assert find_boxes(text, "pixels")[0] == BOX


@pytest.mark.parametrize(
    "text", ["", "I cannot see a cat.", "[1, 2, 3]", "10 20 30 40", "<loc0010><loc0020><loc0030><loc0040>", "(1, 2)"]
)
def test_texts_without_a_box(text):
    assert find_boxes(text, "pixels") == []


def test_words_of_places():
    assert find_boxes("<loc0010><loc0020><loc0030><loc0040> cat ; <loc0001><loc0002><loc0003><loc0004> dog", "loc1024")
    assert find_boxes("the cat<loc_10><loc_20><loc_30><loc_40><loc_1><loc_2><loc_3><loc_4>", "loc") == [
        BOX,
        [1, 2, 3, 4],
    ]
    assert find_boxes("[10, 20, 30, 40]", "loc") == []
    assert find_outline("<loc_10><loc_40><loc_30><loc_20><loc_12>", "loc") == [10, 20, 30, 40]
    assert find_outline("nothing", "loc") is None


def test_only_the_answer_counts():
    assert answer_part("<think>a</think>b") == "b"
    assert answer_part("<answer>a</answer> and <answer>b") == "b"
    assert find_boxes("<think>[1, 2, 3, 4]</think><answer>none</answer>", "pixels") == []


def test_an_unknown_frame_is_named():
    with pytest.raises(VGGymError, match="unknown box frame"):
        find_boxes("", "percent")
