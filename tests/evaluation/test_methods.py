import json
import pickle

import numpy as np
import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym import registry
from vg_gym.errors import ImageError, VGGymError, importing
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.methods import GrounderFactory, Unfitted, build_ceiling, common_failure, failed, predict_batch
from vg_gym.types import Prediction


def method(box, fails=lambda query: None):
    def ground(queries, boxes):
        for query in queries:
            fails(query)
        return [Prediction(np.array(box)) for _ in queries]

    return ground


def test_a_line_is_rounded_and_a_bad_box_is_a_failure(blind):
    (line,) = predict_batch(method([1.23456, 2, 30, 40]), (blind[:1], None))
    assert line["box"] == [1.235, 2.0, 30.0, 40.0] and line["key"] == blind[0].key and "failure" not in line
    (line,) = predict_batch(method([50, 50, 40, 40]), (blind[:1], None))
    assert line["box"] is None and line["failure"] == "not a valid box inside the image"


def test_one_failing_query_does_not_fail_its_batch(blind):
    def fails(query):
        if query.key == blind[1].key:
            raise KeyError("x")

    lines = predict_batch(method([0, 0, 9, 9], fails), (blind[:3], np.zeros((3, 4))))
    assert [line["box"] is None for line in lines] == [False, True, False]
    assert lines[1]["failure"] == "KeyError: 'x'" and [line["key"] for line in lines] == [q.key for q in blind[:3]]


def test_a_wrong_number_of_predictions_is_a_failure_of_each(blind):
    lines = predict_batch(lambda queries, boxes: [], (blind[:2], None))
    assert [line["failure"] for line in lines] == ["RuntimeError: 0 predictions for 1 queries"] * 2


def test_a_failure_of_all_for_one_reason_is_the_method_s_own(blind):
    def fails(query):
        raise VGGymError("no such\nthing")

    lines = predict_batch(method([0, 0, 9, 9], fails), (blind[:2], None))
    assert [line["failure"] for line in lines] == ["no such thing"] * 2
    assert (
        common_failure(lines) == "no such thing" and common_failure([*lines, {"key": "a", "box": [0, 0, 1, 1]}]) is None
    )
    assert common_failure([lines[0], {**lines[1], "failure": "another"}]) is None
    unread = failed("a", ImageError("no image a.jpg"))
    assert common_failure([unread, unread]) is None and "ms" not in unread
    fallback = {"key": "a", "box": [0, 0, 1, 1], "failure": "no proposals"}
    assert common_failure([fallback, fallback]) is None


def test_a_factory_travels_with_its_table_and_without_its_grounder(monkeypatch):
    monkeypatch.setattr(registry, "GROUNDERS", dict(registry.GROUNDERS))
    registry.register_grounder("mine", "vg_gym.baselines.priors:center")
    factory = GrounderFactory("mine", {"fraction": 0.25}, "none", "refshapes", "train", None)
    assert factory.grounder is factory.grounder
    content = pickle.dumps(factory)
    del registry.GROUNDERS["mine"]
    arrived = pickle.loads(content)
    assert "grounder" not in vars(arrived) and arrived.grounder.name == "center"


def test_what_is_fitted_is_fitted_once_built():
    factory = GrounderFactory("constant", {}, "none", "refshapes-easy", "val", None)
    assert factory.grounder.box is not None
    with pytest.raises(VGGymError, match="constant is fitted on refshapes/dev, .* name another"):
        GrounderFactory("constant", {}, "none", "refshapes", "dev", None)()


def test_a_ceiling_is_shown_the_samples(shapes):
    lines = build_ceiling("action-oracle", {"max_steps": 0})(([shapes[0]], None))
    assert lines[0]["box"] == [0.0, 0.0, 128.0, 128.0]


class Needy:
    name = "needy"

    def ground(self, queries, initial_boxes=None):
        with importing("needy", "nothing", "yolo"):
            import no_such_package_xyz  # noqa: F401
        return []


def test_a_missing_package_leaves_the_others_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "GROUNDERS", dict(registry.GROUNDERS))
    registry.register_grounder("needy", f"{__name__}:Needy")
    comparison = Comparison(["needy", "random"], str(tmp_path), "refshapes", clip="none", limit=4)
    with pytest.raises(VGGymError, match=r'has the rest: needy: needy needs nothing: pip install "vg_gym\[yolo\]"$'):
        comparison.run()
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["method"] for row in rows][-1] == "random"


@pytest.mark.parametrize(("train", "evaluated"), [("val", "val"), ("val", "all"), ("all", "val")])
def test_nothing_is_fitted_on_what_is_evaluated(train, evaluated, tmp_path):
    write_images(tmp_path / "images", 2)
    data = str(write_rows(tmp_path / "mine.jsonl", rows(split="val")))
    with pytest.raises(Unfitted, match=f"constant is fitted on .*/{train}, .*{evaluated} is evaluated.*--train-split"):
        GrounderFactory("constant", {}, "none", data, train, None, evaluated)()
    assert GrounderFactory("constant", {}, "none", data, "val", None, "test").grounder.name == "constant"
