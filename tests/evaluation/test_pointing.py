"""Methods that answer with points: pointing accuracy and no IoU, in every output."""

import json

import numpy as np
import pytest

from vg_gym.cli.entry import main
from vg_gym.data.worlds.refshapes.dataset import open_refshapes
from vg_gym.evaluation.lines import is_prediction, predict_batch
from vg_gym.types import Prediction

COUNT = 24
WRONG, SILENT = 3, 5
"""Numbers of the queries that are answered with a point outside the target, and with no point."""


@pytest.fixture(scope="module")
def samples():
    data = open_refshapes("refshapes", "val")
    return [data[i] for i in range(COUNT)]


def answer(number, sample):
    """Return what a Molmo2 writes: the target's centre, a point elsewhere, or none."""
    if number == SILENT:
        return "There are none."
    sides = np.array(sample.query.image.size)
    x, y = 1000 * (sample.box[:2] + sample.box[2:]) / 2 / sides
    if number == WRONG:
        x, y = (1 if x > 500 else 999), (1 if y > 500 else 999)
    return f'<points coords="1 1 {x:03.0f} {y:03.0f}">it</points>'


@pytest.fixture(scope="module")
def evaluated(samples, tmp_path_factory):
    home = tmp_path_factory.mktemp("points")
    rows = [{"key": s.query.key, "answer": answer(i, s)} for i, s in enumerate(samples)]
    (home / "molmo.jsonl").write_text("\n".join(map(json.dumps, rows)))
    evaluate(home / "molmo.jsonl", home / "out", "--frame", "0-1000")
    return home


def evaluate(file, out, *more):
    common = ["--dataset", "refshapes", "--split", "val", "--limit", str(COUNT), "--clip", "none", "--out", str(out)]
    main(["evaluate", "--predictions", str(file), *common, *more])


def row_of(out, name):
    rows = json.loads((out / "results.json").read_text())["rows"]
    return next(row for row in rows if row["method"] == name)


def test_the_row_has_pointing_accuracy_and_no_iou(evaluated):
    row = row_of(evaluated / "out", "recorded:molmo")
    assert row["pointing"] == (COUNT - 2) / COUNT and row["failures"] == 1 and row["n"] == COUNT
    assert row["pointing_ci"] is None and row["answers"] == "points"  # too few images for an interval
    for name in ("mean_iou", "acc@0.5", "acc@0.75", "tightness", "giou_acc@0.5", "mean_iou_ci", "centre_slope"):
        assert row[name] is None, name
    kinds = row["by_kind"].values()
    assert sum(kind["n"] for kind in kinds) == COUNT and all(kind["mean_iou"] is None for kind in kinds)
    floor = row_of(evaluated / "out", "full")
    assert floor["mean_iou"] > 0 and "answers" not in floor and 0 <= floor["pointing"] <= 1


def test_no_point_becomes_a_box_in_any_file(evaluated):
    lines = [json.loads(line) for line in (evaluated / "out" / "predictions.jsonl").read_text().splitlines()]
    mine = [line for line in lines if line["method"] == "recorded:molmo"]
    assert all(line["box"] is None and "boxes" not in line for line in mine)
    assert sum("point" in line for line in mine) == COUNT - 1
    queries = [json.loads(line) for line in (evaluated / "out" / "queries.jsonl").read_text().splitlines()]
    assert all("recorded:molmo" not in query["ious"] and "full" in query["ious"] for query in queries)
    page = (evaluated / "out" / "report.html").read_text()
    assert '<th class="whole">pointing</th>' in page and "recorded:molmo" in page


def test_tables_show_it(evaluated, capsys):
    evaluate(evaluated / "molmo.jsonl", evaluated / "out", "--frame", "0-1000")
    printed = capsys.readouterr().out
    assert "pointing" in printed and f"{(COUNT - 2) / COUNT:.3f}" in printed
    main(["leaderboard", str(evaluated / "out")])
    table = capsys.readouterr().out
    line = next(line for line in table.splitlines() if "recorded:molmo" in line)
    assert "| pointing |" in table and f"{(COUNT - 2) / COUNT:.3f}" in line and line.startswith("|  |")


def test_own_predictions_are_read_again(evaluated, tmp_path):
    lines = (evaluated / "out" / "predictions.jsonl").read_text().splitlines()
    mine = [line for line in lines if json.loads(line)["method"] == "recorded:molmo"]
    (tmp_path / "again.jsonl").write_text("\n".join(mine))
    evaluate(tmp_path / "again.jsonl", tmp_path / "out", "--frame", "pixels")
    assert row_of(tmp_path / "out", "recorded:again")["pointing"] == (COUNT - 2) / COUNT


def test_points_are_not_paired(evaluated, capsys):
    with pytest.raises(SystemExit):
        main(["compare", str(evaluated / "out"), str(evaluated / "out"), "--a", "recorded:molmo", "--b", "full"])
    assert "recorded:molmo answers with points, which have no IoU to pair; leave it out" in capsys.readouterr().err


def test_a_point_outside_the_image_is_a_failure(samples):
    query = samples[0].query

    def lines(*points):
        return [predict_batch(lambda *_, p=p: [Prediction(details={"point": p})], ([query], None))[0] for p in points]

    inside, *outside = lines([1, 2], [-1, 2], [1, 1e6], [np.nan, 1], [1, 2, 3], "middle")
    assert inside["point"] == [1, 2] and "failure" not in inside and is_prediction({**inside, "method": "m"})
    assert all("failure" in line and "point" not in line and line["box"] is None for line in outside)
    assert not is_prediction({**inside, "method": "m", "point": [1]})
