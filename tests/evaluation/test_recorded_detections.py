import json

import numpy as np
import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.recorded_detections import recorded_detections, recorded_rows


def detection(box, confidence=0.9):
    return {"box_xyxy": box, "conf": confidence}


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
    chosen, best, groups, missing = recorded_detections(detections)
    np.testing.assert_allclose(chosen, [0.5, 1, 0])
    np.testing.assert_allclose(best, [1, 1, 0])
    assert groups.tolist() == [0, 0, 1] and missing.tolist() == [False, False, True]


def test_an_expression_without_a_detection_is_a_failure(detections):
    rows = recorded_rows(detections)
    assert [(row["method"], row["role"]) for row in rows] == [("recorded", "method"), ("proposal-oracle", "ceiling")]
    assert rows[0]["mean_iou"] == 0.5 and rows[0]["n"] == 3 and rows[0]["failures"] == 1
    assert rows[1]["acc@0.5"] == pytest.approx(2 / 3)


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
