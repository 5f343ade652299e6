import json

import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.recorded_detections import CHOICES, RecordedExpression, recorded_detections, recorded_rows


def detection(box, confidence=0.9, label=0):
    return {"box_xyxy": box, "conf": confidence, "cls": label, "name": None}


@pytest.fixture
def detections(tmp_path):
    rows = [
        {
            "bbox_target_xywh": [0, 0, 10, 10],
            "det": [detection([0, 0, 10, 5]), detection([0, 0, 10, 10]), detection([0, 0, 1, 1], 0.6)],
            "captions": ["a", "b"],
            "clip_text_similarity": [[0.3, 0.2, 0.9], [0.1, 0.2, 0.9]],  # the last is the full image
        },
        {"bbox_target_xywh": [0, 0, 10, 10], "det": [], "captions": ["c"], "clip_text_similarity": [[0.5]]},
    ]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    return tmp_path / "d.json"


def test_the_best_score_is_chosen_and_the_best_box_is_the_ceiling(detections):
    expressions = recorded_detections(detections)
    assert [e.text for e in expressions] == ["a", "b", "c"] and [e.ref for e in expressions] == [0, 0, 1]
    assert [len(e.boxes) for e in expressions] == [2, 2, 0] and expressions[0].labels == ("person", "person")
    values = {name: [choose(e).argmax() for e in expressions[:2]] for name, choose in CHOICES.items()}
    assert values["recorded"] == [0, 1] and values["proposal-oracle"] == [1, 1]


def test_an_expression_without_a_detection_is_a_failure(detections):
    rows = {row["method"]: row for row in recorded_rows(detections)}
    assert list(rows) == list(CHOICES)
    assert {name for name, row in rows.items() if row["role"] == "ceiling"} == {"proposal-oracle"}
    assert rows["recorded"]["mean_iou"] == 0.5 and rows["recorded"]["n"] == 3 and rows["recorded"]["failures"] == 1
    assert rows["proposal-oracle"]["acc@0.5"] == pytest.approx(2 / 3)


def test_without_classes_their_rows_are_left_out(detections):
    content = json.loads(detections.read_text())
    del content[0]["det"][0]["cls"]
    detections.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="has no class of some detections"):
        rows = recorded_rows(detections)
    assert [row["method"] for row in rows] == ["recorded", "recorded parse", "proposal-oracle"]


def test_words_move_the_choice_of_clip():
    boxes = np.array([[0, 0, 10, 20], [50, 0, 60, 20], [20, 10, 45, 20]], dtype=float)
    labels = ("person", "person", "dining table")

    def best(text, *probabilities):
        expression = RecordedExpression(text, 0, boxes, labels, np.array(probabilities), np.zeros(3))
        return [int(choose(expression).argmax()) for choose in list(CHOICES.values())[:5]]

    assert best("the man on the left", 0.3, 0.4, 0.3) == [1, 0, 1, 0, 0]
    assert best("the man", 0.1, 0.3, 0.6) == [2, 2, 1, 1, 0]
    assert best("a gizmo", 0.1, 0.3, 0.6) == [2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.3, 0.2], "2 scores of 2 detections and the full image"),
        ([0.3, None, 0.2], "TypeError"),
        ([0.3, float("nan"), 0.2], "a score is not a number"),
    ],
)
def test_scores_that_do_not_fit_the_detections_are_refused(detections, scores, message):
    content = json.loads(detections.read_text())
    content[0]["clip_text_similarity"][1] = scores
    detections.write_text(json.dumps(content))
    with pytest.raises(VGGymError, match=message):
        recorded_detections(detections)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "d.json").write_text('[{"det": []}]')
    with pytest.raises(VGGymError, match="is not a file of recorded detections .KeyError"):
        recorded_detections(tmp_path / "d.json")


def test_the_recorded_detections_give_the_published_numbers(realdata, tmp_path):
    path = str(realdata / "recorded" / "yolov5l6_clip_vitb32.json")
    rows = {row["method"]: row for row in Comparison(methods=[], out=str(tmp_path), recorded=path).run()}
    recorded, oracle = rows["recorded"], rows["proposal-oracle"]
    assert recorded["n"] == 958 and recorded["failures"] == 12
    published = recorded["n"] / 946  # the authors leave expressions without a detection out
    assert (round(recorded["acc@0.5"] * published, 3), round(recorded["mean_iou"] * published, 3)) == (0.597, 0.590)
    assert round(oracle["acc@0.5"] * published, 3) == 0.896
    both, words = rows["recorded parse+classes"]["acc@0.5"], rows["recorded words"]["acc@0.5"]
    assert both * published >= 0.64 and words < recorded["acc@0.5"] < rows["recorded classes"]["acc@0.5"] < both
