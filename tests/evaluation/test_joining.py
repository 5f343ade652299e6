import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vg_gym.data.own import OwnData
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.recorded import RecordedGrounder

LEFT, RIGHT = [10.0, 10.0, 50.0, 50.0], [60.0, 60.0, 100.0, 100.0]


def written(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def own(folder, *rows):
    """A data set of one's own with pictures of 120 x 120 pixels."""
    for name in {row["image"] for row in rows}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (120, 120)).save(folder / name)
    data = OwnData(Path(written(folder / "mine.jsonl", *({"split": "test", **row} for row in rows))), "test")
    return [data[i] for i in range(len(data))]


@pytest.fixture
def men(tmp_path):
    """Two objects with the same expression in one picture."""
    row = {"image": "1.png", "expression": "man", "image_id": 1}
    return own(tmp_path, {**row, "id": 0, "box": LEFT, "ann_id": 70, "ref_id": 50},
               {**row, "id": 1, "box": RIGHT, "ann_id": 71, "ref_id": 51})  # fmt: skip


def boxes(samples, path, *rows, **options):
    """The boxes that recorded answers give samples; None where there is none."""
    grounder = RecordedGrounder(written(path, *rows), **options)
    grounder.partners, _ = grounder.join(samples)
    predictions = grounder.ground([sample.query for sample in samples])
    return [None if np.isnan(p.box).any() else p.box.tolist() for p in predictions]


@pytest.mark.parametrize("form", [int, str, float, lambda number: f"{number}.0"])
@pytest.mark.parametrize(("name", "ids"), [("sent_id", (0, 1)), ("ann_id", (70, 71)), ("ref_id", (50, 51))])
def test_an_id_decides_between_equal_words(men, tmp_path, name, ids, form):
    words = {"image": "1.png", "image_id": 1, "expression": "man"}
    rows = [{**words, name: form(number), "box": box} for number, box in zip(ids, (LEFT, RIGHT), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert boxes(men, tmp_path / "answers.jsonl", *rows) == [LEFT, RIGHT]
        assert boxes(men, tmp_path / "answers.jsonl", *reversed(rows)) == [LEFT, RIGHT]


def test_words_alone_for_two_objects_are_reported(men, tmp_path):
    row = {"image": "1.png", "expression": "Man.", "box": LEFT}
    with pytest.warns(UserWarning, match="1 answers are ambiguous: .*give sent_id; the first line 1"):
        assert boxes(men, tmp_path / "answers.jsonl", row) == [LEFT, LEFT]
    with pytest.raises(VGGymError, match="mine/0 has more than one answer, and they differ: line 1 and line 2"):
        boxes(men, tmp_path / "answers.jsonl", row, {**row, "box": RIGHT})


def test_the_strongest_name_decides_and_a_contradiction_is_reported(men, tmp_path):
    rows = [{"key": "mine/0", "ann_id": 71, "box": LEFT}, {"sent_id": 1, "ref_id": 51, "ann_id": 70, "box": RIGHT}]
    with pytest.warns(UserWarning, match="2 answers contradict themselves: .*line 1 .*ann_id; line 2 .*ann_id"):
        assert boxes(men, tmp_path / "answers.jsonl", *rows) == [LEFT, RIGHT]
    with pytest.warns(UserWarning, match="contradict themselves.*expression"):
        boxes(men, tmp_path / "answers.jsonl", {"key": "mine/0", "expression": "dog", "box": LEFT})


def test_an_answer_whose_strongest_name_is_unknown_joins_nothing(men, tmp_path):
    row = {"sent_id": 9, "image": "1.png", "expression": "man", "box": LEFT}
    with pytest.warns(UserWarning, match="1 of 1 answers joined no query, the first line 1 .*: no query has sent_id 9"):
        assert boxes(men, tmp_path / "answers.jsonl", row) == [None, None]


def test_ids_may_be_absent_in_some_rows(tmp_path):
    rows = [{"image": "1.png", "expression": text, "box": box, "id": n} for n, (text, box) in
            enumerate((("man", LEFT), ("dog", RIGHT), ("cat", LEFT)))]  # fmt: skip
    answers = [{"sent_id": 0, "box": LEFT}, {"sent_id": None, "image": "1.png", "expression": "dog", "box": RIGHT},
               {"sent_id": float("nan"), "image": "1.png", "sent": "cat", "box": LEFT}]  # fmt: skip
    assert boxes(own(tmp_path, *rows), tmp_path / "answers.jsonl", *answers) == [LEFT, RIGHT, LEFT]


def test_an_id_may_be_a_word(tmp_path):
    rows = [
        {"image": "1.png", "expression": "man", "box": box, "id": name} for name, box in (("a", LEFT), ("b", RIGHT))
    ]
    answers = [{"sent_id": name, "box": box} for name, box in (("b", RIGHT), ("a", LEFT))]
    assert boxes(own(tmp_path, *rows), tmp_path / "answers.jsonl", *answers) == [LEFT, RIGHT]


def test_two_answers_to_one_query(men, tmp_path):
    first, second = {"key": "mine/0", "box": LEFT}, {"key": "mine/0", "box": RIGHT}
    path = tmp_path / "answers.jsonl"
    with pytest.raises(VGGymError, match="the query mine/0 has more than one answer"):
        boxes(men, path, first, second)
    with pytest.warns(UserWarning, match="1 queries have the same answer more than once, the first mine/0"):
        assert boxes(men, path, first, first) == [LEFT, None]
    with pytest.warns(UserWarning, match="several answers, of which the one with the highest score counts"):
        assert boxes(men, path, {**first, "score": 0.2}, {**second, "score": 0.7}) == [RIGHT, None]
    with pytest.raises(VGGymError, match="more than one answer"):
        boxes(men, path, {**first, "score": 0.7}, {**second, "score": 0.7})


@pytest.fixture
def dogs(tmp_path):
    """The same words for pictures of one base name in two folders, and another picture."""
    return own(tmp_path, {"image": "a/1.png", "expression": "the dog", "box": LEFT},
               {"image": "b/1.png", "expression": "the dog", "box": RIGHT},
               {"image": "b/2.png", "expression": "the dog", "box": LEFT})  # fmt: skip


@pytest.mark.parametrize("form", ["{}", "./{}", "{root}/{}", "some/where/{}", "C:\\data\\{}"])
def test_pictures_are_told_apart_by_their_folders(dogs, tmp_path, form):
    names = [form.format(name, root=tmp_path) for name in ("a/1.png", "b/1.png", "b/2.png")]
    rows = [
        {"image": name, "expression": "the dog", "box": box}
        for name, box in zip(names, (LEFT, RIGHT, LEFT), strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert boxes(dogs, tmp_path / "answers.jsonl", *rows) == [LEFT, RIGHT, LEFT]
        windows = [{**row, "image": row["image"].replace("/", "\\")} for row in rows]
        assert boxes(dogs, tmp_path / "answers.jsonl", *windows) == [LEFT, RIGHT, LEFT]


@pytest.mark.parametrize("name", ["1.png", "c/1.png"])
def test_a_base_name_of_several_pictures_joins_none(dogs, tmp_path, name):
    row = {"image": name, "expression": "the dog", "box": LEFT}
    with pytest.warns(
        UserWarning, match=f"joined no query.*1 paths match several images, so none is chosen.*first {name}"
    ):
        assert boxes(dogs, tmp_path / "answers.jsonl", row) == [None] * 3


def test_a_base_name_of_one_picture_joins_and_says_so(dogs, tmp_path):
    with pytest.warns(UserWarning, match="1 paths name images in other folders .*joined by base name, the first 2.png"):
        row = {"file_name": "2.png", "expression": "the dog", "box": LEFT}
        assert boxes(dogs, tmp_path / "answers.jsonl", row) == [None, None, LEFT]


def test_a_picture_alone_answers_where_one_thing_is_asked_of_it(men, dogs, tmp_path):
    with pytest.warns(UserWarning, match="2 of 3 queries have no answer"):
        assert boxes(dogs, tmp_path / "answers.jsonl", {"image": "b/2.png", "box": LEFT}) == [None, None, LEFT]
    several = own(tmp_path / "several", *({"image": "1.png", "expression": text, "box": LEFT} for text in ("a", "b")))
    with pytest.warns(UserWarning, match="it fits 2 queries, mine/1, mine/2, ...: give sent_id or the expression"):
        assert boxes(several, tmp_path / "answers.jsonl", {"image": "1.png", "box": LEFT}) == [None, None]
    with pytest.warns(UserWarning, match="nothing of the kind is asked"):
        boxes(several, tmp_path / "answers.jsonl", {"image": "1.png", "expression": "c", "box": LEFT})


@pytest.mark.parametrize(
    ("kind", "four"),
    [("xyxy", LEFT), ("xywh", [10, 10, 40, 40]), ("cxcywh", [30, 30, 40, 40]), ("yxyx", [10, 10, 50, 50])],
)
def test_the_format_of_boxes_is_named(men, tmp_path, kind, four):
    path, row = tmp_path / "answers.jsonl", {"sent_id": 0, "bbox": four}
    with pytest.warns(UserWarning, match="have no answer"):
        assert boxes(men, path, row, box_format=kind) == [LEFT, None]
    with pytest.warns(UserWarning, match="have no answer"):
        assert boxes(men, path, {**row, "box_format": kind}) == [LEFT, None]
    other = "xywh" if kind == "xyxy" else "xyxy"
    with pytest.raises(VGGymError, match="line 1 says .box_format.*leave --box-format out"):
        boxes(men, path, {**row, "box_format": kind}, box_format=other)


def test_y_first_is_read_as_such(men, tmp_path):
    row = {"sent_id": 0, "box_2d": [100, 200, 300, 600], "frame": "0-1000"}
    with pytest.warns(UserWarning, match="have no answer"):
        assert boxes(men, tmp_path / "answers.jsonl", row, box_format="yxyx")[0] == pytest.approx([24, 12, 72, 36])
    row["frame"] = "0-1000-yx"
    with pytest.warns(UserWarning, match="have no answer"):
        assert boxes(men, tmp_path / "answers.jsonl", row)[0] == pytest.approx([24, 12, 72, 36])
    with pytest.raises(
        VGGymError, match="its frame already says that y comes first, so leave the box format 'yxyx' out"
    ):
        boxes(men, tmp_path / "answers.jsonl", row, box_format="yxyx")


def test_corners_in_the_wrong_order_are_reported(men, tmp_path):
    with pytest.warns(UserWarning, match="1 boxes have no area as xyxy.*--box-format xywh"):
        boxes(men, tmp_path / "answers.jsonl", {"sent_id": 0, "box": [60, 60, 40, 40]})


@pytest.mark.parametrize(
    "answer",
    [
        {"box": None},
        {"box": []},
        {"boxes": []},
        {"box": [float("nan")] * 4},
        {"box": [1, 2, float("inf"), 4]},
        {"box": None, "failure": "no memory"},
        {"failure": "no memory"},
        {"x1": None, "y1": None, "x2": None, "y2": None},
    ],
)
def test_an_answer_without_a_box_is_a_failure(men, tmp_path, answer):
    grounder = RecordedGrounder(written(tmp_path / "a.jsonl", {"key": "mine/0", **answer}))
    [prediction] = grounder.ground([men[0].query])
    assert np.isnan(prediction.box).all()
    assert prediction.details["failure"] == answer.get("failure", "no box in the recorded answer")


def test_the_best_of_several_boxes_counts(men, tmp_path):
    row = {"key": "mine/0", "boxes": [RIGHT, LEFT], "scores": [0.2, 0.9]}
    [prediction] = RecordedGrounder(written(tmp_path / "a.jsonl", row)).ground([men[0].query])
    assert prediction.box.tolist() == LEFT


MARKS = "\u2028\u2029\x85"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_separators_in_strings_and_byte_order_marks(tmp_path, kind, encoding):
    samples = own(tmp_path, {"image": "1.png", "expression": f"man{MARKS}left", "box": LEFT, "id": 0},
                  {"image": "1.png", "expression": "dog", "box": RIGHT, "id": 1})  # fmt: skip
    rows = [{"image": "1.png", "expression": sample.query.expression, "box": sample.box.tolist()} for sample in samples]
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    content = {
        "jsonl": "\r\n".join(texts),
        "json": f"[{', '.join(texts)}]",
        "csv": "image,expression,box\r\n" + "".join(f'1.png,"{r["expression"]}","{r["box"]}"\r\n' for r in rows),
    }
    path = tmp_path / f"answers.{kind}"
    path.write_bytes(content[kind].encode(encoding))
    grounder = RecordedGrounder(str(path))
    partners, counts = grounder.join(samples)
    assert partners == {"mine/0": [0], "mine/1": [1]} and counts["answers_without_query"] == 0


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes("key,box\nä,1".encode("latin-1"))
    with pytest.raises(VGGymError, match="is not a text file in UTF-8"):
        RecordedGrounder(str(tmp_path / "a.csv"))


def test_the_format_reaches_the_table(men, tmp_path):
    rows = [{"sent_id": n, "bbox": [*box[:2], 40, 40]} for n, box in enumerate((LEFT, RIGHT))]
    path = written(tmp_path / "answers.jsonl", *rows)
    options = {"predictions": path, "clip": "none", "box_format": "xywh"}
    row = Comparison([], str(tmp_path / "out"), str(tmp_path / "mine.jsonl"), **options).run()[-1]
    assert row["method"] == "recorded:answers" and row["mean_iou"] == 1
