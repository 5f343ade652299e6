import json

import numpy as np
import pytest

from vg_gym.boxes import denormalize
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.recorded import RecordedGrounder


def lines(path, *rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return str(path)


def test_recorded_boxes_answer_their_keys(tmp_path, blind):
    path = lines(tmp_path / "p.jsonl", {"key": blind[1].key, "box": [1, 2, 3, 4], "score": 0.5})
    grounder = RecordedGrounder(path)
    first, second = grounder.ground(blind[:2])
    assert "not in the recorded" in first.details["failure"] and np.isnan(first.box).all()
    assert second.box.tolist() == [1, 2, 3, 4] and second.score == 0.5 and grounder.name == "recorded:p"
    with pytest.raises(VGGymError, match="does not refine"):
        grounder.ground(blind[:1], np.zeros((1, 4)))


def named(sample, how):
    return {
        "key": {"key": sample.query.key},
        "sent_id": {"sent_id": sample.sent_id},
        "ref": {"ref_id": sample.ref_id, "expression": f" {sample.query.expression.upper()}."},
        "ann": {"ann_id": str(sample.ann_id), "sent": sample.query.expression},
        "image": {"image": f"./{sample.query.image.key.partition('/')[2]}",
                  "sentence": sample.query.expression},
    }[how]  # fmt: skip


@pytest.mark.parametrize("how", ["key", "sent_id", "ref", "ann", "image"])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_every_way_to_join_in_every_format(how, kind, shapes, tmp_path):
    """Thousandths that are the truth: the IoU is 1, but for rounding."""
    samples = [shapes[i] for i in range(len(shapes))]
    rows = []
    for sample in samples:
        box = np.round(sample.box / np.tile(sample.query.image.size, 2) * 1000, 1).tolist()
        rows.append({**named(sample, how), **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True))})
    path = tmp_path / f"others.{kind}"
    if kind == "jsonl":
        lines(path, *rows)
    elif kind == "json":
        path.write_text(json.dumps(rows))
    else:
        text = "\n".join(",".join(json.dumps(value) for value in row.values()) for row in rows)
        path.write_text(",".join(rows[0]) + "\n" + text)
    grounder = RecordedGrounder(str(path), "0-1000")
    partners, counts = grounder.join(samples)
    assert counts == {"answers": 8, "answers_without_query": 0, "queries_without_answer": 0}
    found = RecordedGrounder(str(path), "0-1000", partners).ground([s.query for s in samples])
    np.testing.assert_allclose([p.box for p in found], [s.box for s in samples], atol=0.1)


def logged(sample, answer):
    """As lmms-eval logs its refcoco_bbox_rec tasks."""
    asked = {
        "answer": sample.query.expression,
        "pred": [0] * 4,
        "ann_id": str(sample.ann_id),
        "bbox": [0, 0, 1, 1],
    }
    return {"doc_id": 0, "target": sample.query.expression, "resps": [[answer]], "filtered_resps": [answer],
            "doc_hash": "x", "refcoco_IoU": asked, "refcoco_ACC@0.5": asked}  # fmt: skip


def test_the_logs_of_lmms_eval_are_read_in_the_frame_that_is_named(shapes, tmp_path):
    samples = [shapes[i] for i in range(4)]
    rows = [logged(s, f"It is [{', '.join(str(v) for v in s.box / s.query.image.size[0])}]") for s in samples[:3]]
    path = lines(tmp_path / "samples_refcocog_bbox_rec_test.jsonl", *rows, logged(samples[3], "I do not know."))
    with pytest.raises(VGGymError, match="is an answer as text; name the frame"):
        RecordedGrounder(path)
    partners, _ = RecordedGrounder(path, "normalised").join(samples)
    *found, last = RecordedGrounder(path, "normalised", partners).ground([s.query for s in samples])
    np.testing.assert_allclose([p.box for p in found], [s.box for s in samples[:3]], atol=1e-3)
    assert last.details == {"answer": "I do not know.", "failure": "no box in the recorded answer"}


def test_what_does_not_join_is_reported_in_the_table(shapes, tmp_path):
    rows = [{"key": s.query.key, "box": s.box.tolist()} for s in (shapes[0], shapes[1])]
    path = lines(tmp_path / "p.jsonl", *rows, {"image": "strange.jpg", "sent": "a cat", "box": [0, 0, 5, 5]})
    options = {"limit": 4, "clip": "none", "dataset_options": {"scenes": 2}}
    comparison = Comparison([], str(tmp_path / "out"), "refshapes", split="val", predictions=path, **options)
    with pytest.warns(
        UserWarning, match="1 of 3 answers joined no query, the first line 3 .*strange.jpg.*2 of 4 queries have"
    ):
        row = comparison.run()[-1]
    assert row["method"] == "recorded:p" and row["failures"] == 2 and row["frame"] == "pixels"
    assert row["joined"] == {"answers": 3, "answers_without_query": 1, "queries_without_answer": 2}
    assert row["mean_iou"] == pytest.approx(0.5, abs=1e-3)


def test_a_ref_alone_answers_only_where_one_thing_is_asked_of_it(shapes, tmp_path):
    samples = [shapes[i] for i in range(len(shapes))]
    refs = [s.ref_id for s in samples]
    path = lines(tmp_path / "p.jsonl", *({"ref_id": ref, "box": [0, 0, 9, 9]} for ref in set(refs)))
    grounder = RecordedGrounder(path)
    alone = [s.query.key for s in samples if refs.count(s.ref_id) == 1]
    if len(alone) < len(samples):
        with pytest.warns(UserWarning, match="joined no query"):
            partners, _ = grounder.join(samples)
    else:
        partners, _ = grounder.join(samples)
    assert sorted(partners) == sorted(alone)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"key": 3}', "line 1 has no box of four numbers"),
        ("a.jsonl", '{"key": 3, "boxes": [[1, 2, 3, 4], [5, 6, 7, 8]]}', "line 1 has 2 boxes; give one, or .scores."),
        ("a.jsonl", '{"key": 3, "bbox": [1, 2, 3, 4]}', "line 1 calls its box .bbox.*give --box-format"),
        ("a.jsonl", '{"key": 3, "box_2d": [1, 2, 3, 4]}', "line 1 calls its box .box_2d., which is yxyx in Gemini"),
        ("a.jsonl", '{"key": 3, "bbox": [1, 2, 3, 4], "box_format": "ltrb"}', "unknown box format"),
        ("a.csv", "key,box\na,1,2,3,4", "row 2 has more cells than the header"),
        ("a.json", '{"a": 1}', "is not a list of answers"),
        ("a.jsonl", "{", "line 1 is not"),
        ("a.jsonl", "3", "line 1 is not an object"),
        ("a.jsonl", '{"box": [1, 2, 3, 4]}', "does not name its query"),
        ("a.jsonl", '{"key": "a", "box": [1, 2, 3]}', "no box of four numbers"),
        ("a.jsonl", '{"key": "a", "box": ["x", 2, 3, 4]}', "is not a valid answer"),
        ("a.csv", "key,box\na,1 2 3 4", "row 2 is not a valid answer"),
        ("a.json", "[", "cannot read"),
    ],
)
def test_bad_files_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(VGGymError, match=message):
        RecordedGrounder(str(tmp_path / name))


def test_other_errors(tmp_path):
    with pytest.raises(VGGymError, match="cannot read"):
        RecordedGrounder(str(tmp_path / "none.jsonl"))
    with pytest.raises(VGGymError, match="unknown box frame"):
        RecordedGrounder(lines(tmp_path / "a.jsonl", {"key": "a", "box": [1, 2, 3, 4]}), "percent")


def test_a_wrong_frame_is_a_loud_warning(shapes, tmp_path):
    samples = [shapes[i] for i in range(8)]
    rows = [{"key": s.query.key, "box": (s.box / 128).tolist()} for s in samples]
    grounder = RecordedGrounder(lines(tmp_path / "a.jsonl", *rows))
    with pytest.warns(UserWarning, match="all 8 boxes lie in the top left corner"):
        grounder.ground([s.query for s in samples])
    assert denormalize(np.float32(rows[0]["box"]), (128, 128)).tolist() == pytest.approx(samples[0].box.tolist())
