"""Evaluation of data whose expressions mean nothing, one thing or several."""

import hashlib
import json

import numpy as np
import pytest

from tests.evaluation.test_set_metrics import exactly_right, iou
from vg_gym import registry
from vg_gym.cli.entry import main
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.lines import is_prediction, predict_batch
from vg_gym.evaluation.paired import SET_F1, pair_results
from vg_gym.evaluation.report.leaderboard import markdown, ranked
from vg_gym.evaluation.results import hash_of_samples, read_results
from vg_gym.evaluation.set_metrics import auroc, fit_threshold
from vg_gym.types import Prediction

LIMIT = 48
SAMPLES = {
    split: {sample.query.key: sample for sample in RefShapes("refshapes-any", split, scenes=LIMIT // 4)}
    for split in ("val", "test")
}
ALL_SAMPLES = {**SAMPLES["val"], **SAMPLES["test"]}
CALLS = []


class Knowing:
    """Grounder that knows the true boxes; its score is low where nothing is meant, and for every ninth expression."""

    name = "knowing"

    def ground(self, queries, initial_boxes=None):
        CALLS.extend(query.key for query in queries)
        return [self._answer(ALL_SAMPLES[query.key]) for query in queries]

    def _answer(self, sample):
        low = sample.sent_id % 9 == 0 or not len(sample.boxes)
        score = (0.1 if low else 0.8) + 0.001 * (sample.sent_id % 7)
        boxes = sample.boxes if len(sample.boxes) else np.array([[1.0, 1, 9, 9]])
        return Prediction(boxes=boxes, scores=np.full(len(boxes), score))


class Plain:
    """Grounder with one box, the first true one, and without scores."""

    name = "plain"

    def ground(self, queries, initial_boxes=None):
        return [Prediction([*ALL_SAMPLES[query.key].boxes, np.array([1.0, 1, 9, 9])][0]) for query in queries]


class Silent(Plain):
    """Grounder that always answers that nothing fits."""

    name = "silent"

    def ground(self, queries, initial_boxes=None):
        return [Prediction() for _ in queries]


@pytest.fixture(autouse=True)
def grounders(monkeypatch):
    CALLS.clear()
    for kind in (Knowing, Plain, Silent):
        spec = registry.GrounderSpec(f"{__name__}:{kind.__name__}")
        monkeypatch.setitem(registry.GROUNDERS, kind.name, spec)


def evaluated(out, *methods, **changes):
    given = {"dataset": "refshapes-any", "limit": LIMIT, "clip": "none", **changes}
    return {row["method"]: row for row in Comparison(list(methods), str(out), **given).run()}


def test_columns_of_sets(tmp_path):
    rows = evaluated(tmp_path, "knowing", "plain", "silent")
    samples = list(SAMPLES["test"].values())
    counts = np.array([len(sample.boxes) for sample in samples])
    knowing, plain, silent = rows["knowing"], rows["plain"], rows["silent"]
    assert (knowing["n"], knowing["n_one"], knowing["n_none"], knowing["n_many"]) == (48, 24, 12, 12)
    assert knowing["mean_iou"] == pytest.approx(1, abs=1e-3) and knowing["pr@f1_many"] == 1 and knowing["pr@f1"] == 0.75
    assert plain["mean_iou"] == pytest.approx(1, abs=1e-3) and plain["pr@f1_many"] == 0 and plain["auroc"] is None
    assert plain["set_f1"] == pytest.approx(np.mean([2 / (1 + count) if count else 0 for count in counts]))
    assert silent["mean_iou"] == 0 and silent["pr@f1"] == (counts == 0).mean() and silent["failures"] == 0
    assert (silent["n_acc"], silent["t_acc"]) == (1, 0) and (plain["n_acc"], plain["t_acc"]) == (0, 1)
    low, high = knowing["pr@f1_ci"]
    assert low < 0.75 < high
    assert knowing["by_kind"]["none"] == {"mean_iou": None, "acc@0.5": None, "set_f1": 0, "pr@f1": 0, "n": 12}
    assert knowing["acc@0.9"] == knowing["pointing"] == 1
    scores = np.array([prediction.score for prediction in Knowing().ground([sample.query for sample in samples])])
    assert knowing["auroc"] == pytest.approx(auroc(scores, counts > 0))


@pytest.mark.parametrize("fitted", [{"options": {"knowing": {"nothing_below": 0.5}}}, {"fit_threshold": "val"}])
def test_a_refiner_follows_the_decision_of_the_method_before_it(tmp_path, fitted):
    rows = evaluated(tmp_path / "run", "knowing", "silent", refine="no-op", **fitted)
    for name in ("knowing", "silent"):
        first, refined = rows[name], rows[f"{name} + no-op"]
        assert {key: refined[key] for key in ("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1")} == {
            key: first[key] for key in ("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1")
        }
    assert rows["silent + no-op"]["n_acc"] == 1 and "nothing_below" not in rows["knowing + no-op"]
    assert "fit_threshold" in fitted or rows["knowing + no-op"]["n_acc"] == 1


def test_the_files_of_sets_are_read_again(tmp_path, capsys):
    evaluated(tmp_path / "run", "knowing", "silent")
    lines = [json.loads(line) for line in (tmp_path / "run" / "queries.jsonl").read_text().splitlines()]
    for line, sample in zip(lines, SAMPLES["test"].values(), strict=True):
        assert ("box" in line) == (len(sample.boxes) == 1) and line["f1"].keys() >= {"knowing", "silent"}
        assert line.get("boxes", [line.get("box")]) == sample.boxes.tolist()
    results = read_results(tmp_path / "run")
    assert results.meta["content"] == hash_of_samples(SAMPLES["test"].values())
    [pair] = pair_results(results, results, "silent", "knowing")
    everything, kinds = pair.differences[0], {difference.kind: difference for difference in pair.differences}
    assert (everything.n, everything.only_a, everything.only_b) == (48, 12, 36) and pair.measure is SET_F1
    assert everything.mean == everything.accuracy == pytest.approx(0.75 - 0.25)
    assert (kinds["none"].accuracy, kinds["many"].accuracy) == (-1, 1)
    assert pair.figures == {"mean_a": 0.25, "mean_b": 0.75, "accuracy_a": 0.25, "accuracy_b": 0.75}
    main(["compare", *2 * [str(tmp_path / "run")], "--a", "silent", "--b", "knowing", "--out", str(tmp_path / "c.png")])
    assert "set F1 0.250 (A), 0.750 (B); Pr@F1 0.250 (A), 0.750 (B)" in capsys.readouterr().out
    table = markdown(ranked([results], tmp_path, "f1"))
    assert "| N-acc | T-acc | Pr@F1 |" in table and "silent" in table
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Pr@F1, many" in page and "24 expressions mean one thing, 12 nothing" in page
    capsys.readouterr()
    assert evaluated(tmp_path / "run", "knowing")["knowing"]["reused"] == LIMIT


def test_the_content_hash_of_single_targets_is_that_of_earlier_versions(shapes):
    digest = hashlib.sha256()
    for sample in shapes:
        digest.update(f"{sample.query.key} {sample.query.expression} {sample.box.tolist()}".encode())
    assert hash_of_samples(shapes) == digest.hexdigest()[:16]


def test_a_data_set_of_single_targets_has_no_columns_of_sets(tmp_path, capsys):
    rows = evaluated(tmp_path, "center", dataset="refshapes", limit=4)
    assert not {"n_acc", "pr@f1", "set_f1", "auroc"} & rows["center"].keys() and "by_kind" in rows["center"]
    out = capsys.readouterr().out
    assert "Acc@0.5" in out and "N-acc" not in out
    assert '"f1"' not in (tmp_path / "queries.jsonl").read_text()


def test_a_fitted_threshold_is_that_of_the_other_split(tmp_path, capsys):
    row = evaluated(tmp_path, "knowing", "plain", fit_threshold="val", calibrate="val")["knowing"]
    has_target = {key: len(sample.boxes) > 0 for key, sample in SAMPLES["val"].items()}
    predictions = Knowing().ground([sample.query for sample in SAMPLES["val"].values()])
    scores = np.array([prediction.score for prediction in predictions])
    value = fit_threshold(scores, np.array(list(has_target.values())))
    threshold = row["nothing_below"]
    assert threshold["value"] == pytest.approx(value) and threshold["fitted_on"] == "val"
    assert threshold["n"] == sum(has_target.values()) and row["t_acc"] >= 0.9
    out = capsys.readouterr().out
    assert "N-acc" in out and "T-acc" in out
    assert 'knowing answers "nothing" where its score is below' in out and "plain answers" not in out
    assert (
        row["calibration"]["fitted_on"] == "val" and row["calibration"]["ece"] != row["calibration"]["ece_calibrated"]
    )
    assert json.loads((tmp_path / "results.json").read_text())["meta"]["fit_threshold"] == "val"


def test_another_threshold_needs_no_new_predictions(tmp_path):
    rows = evaluated(tmp_path, "knowing", options={"knowing": {"nothing_below": "0.05,0.5"}})
    asked = len(CALLS)
    assert asked == LIMIT
    low, high = rows["knowing[nothing_below=0.05]"], rows["knowing[nothing_below=0.5]"]
    assert low["n_acc"] == 0 and low["t_acc"] == 1 and high["n_acc"] == 1 and 0.5 < high["t_acc"] < 1
    assert low["auroc"] == high["auroc"]
    always = evaluated(tmp_path, "knowing", options={"knowing": {"nothing_below": 0.9}})["knowing"]
    assert (always["n_acc"], always["t_acc"], always["pr@f1"]) == (1, 0, 0.25)
    assert len(CALLS) == asked and always["nothing_below"] == {"value": 0.9}


def test_thresholds_on_single_targets_show_what_they_refuse(tmp_path, capsys):
    options = {"mdetr": {"nothing_below": 2.0}}
    row = evaluated(tmp_path, "mdetr", dataset="refshapes", limit=4, options=options)["mdetr"]
    assert row["t_acc"] == row["mean_iou"] == 0 and row["n_acc"] is None
    assert "T-acc" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit_threshold": "test"}, "nothing is fitted on test, since test is evaluated; name another split"),
        ({"calibrate": "test"}, "nothing is fitted on test"),
        ({"options": {"plain": {"nothing_below": 0.5}}}, "plain gives no scores, so nothing_below=0.5 has no meaning"),
        ({"options": {"full": {"nothing_below": 0.5}}}, "full gives no scores"),
        ({"options": {"plain": {"nothing_below": "low"}}}, "plain.nothing_below='low' is not a number"),
    ],
)
def test_thresholds_without_meaning_are_refused(tmp_path, changes, message):
    with pytest.raises(VGGymError, match=message):
        evaluated(tmp_path, "plain", **changes)


@pytest.mark.parametrize(
    ("prediction", "boxes"),
    [
        (Prediction(), []),
        (Prediction(boxes=np.zeros((0, 4)), score=0.2), []),
        (Prediction(boxes=np.array([[0, 0, 9, 9], [0, 0, 9, 9]])), [[0, 0, 9, 9]] * 2),
        (Prediction(boxes=np.tile([0, 0, 9, 9], (50, 1)), scores=np.linspace(1, 0, 50)), [[0, 0, 9, 9]] * 50),
        (Prediction(boxes=np.array([[0, 0, 9, 9], [0, 0, 900, 9]])), None),
        (Prediction(boxes=np.array([[0, 0, 9, 9], [0, 0, np.nan, 9]])), None),
        (Prediction(boxes=np.ones((2, 5))), None),
        (Prediction(boxes=np.array([[[0, 0, 9, 9]]])), None),
    ],
)
def test_lines_of_several_boxes(blind, prediction, boxes):
    [line] = predict_batch(lambda queries, starts: [prediction], (blind[:1], None))
    assert is_prediction({"method": "m", **line}) and line.get("boxes") == boxes
    assert ("failure" in line) == (boxes is None)


def test_pr_at_f1_is_that_of_a_search_by_hand(tmp_path, monkeypatch):
    """Answers with errors of every sort; the share of exactly right ones is found by trying every assignment."""
    rng = np.random.default_rng(7)
    answers = {}
    for key, sample in SAMPLES["test"].items():
        moved = sample.boxes + rng.normal(0, 3, sample.boxes.shape)
        stray = np.array([[1.0, 1, 30, 40]])[: int(rng.random() < 0.2)]
        boxes = np.concatenate([moved[rng.random(len(moved)) < 0.9], stray]).clip(0, 128)
        answers[key] = np.round(boxes.astype(np.float32), 3)
    monkeypatch.setattr(
        Plain, "ground", lambda self, queries, starts=None: [Prediction(boxes=answers[q.key]) for q in queries]
    )
    row = evaluated(tmp_path, "plain")["plain"]
    right = [exactly_right(answers[key].tolist(), sample.boxes.tolist()) for key, sample in SAMPLES["test"].items()]
    assert 0.3 < np.mean(right) < 0.95 and row["pr@f1"] == pytest.approx(np.mean(right), abs=1e-6)


def recorded_lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def random_sets(seed):
    """Answers with errors of every sort: moved, missing, doubled and stray boxes, with scores."""
    rng, answers = np.random.default_rng(seed), {}
    for key, sample in SAMPLES["test"].items():
        moved = sample.boxes + rng.normal(0, 3, sample.boxes.shape)
        stray = np.array([[1.0, 1, 30, 40]])[: int(rng.random() < 0.2)]
        doubled = moved[:1][: int(rng.random() < 0.1)]
        boxes = np.concatenate([moved[rng.random(len(moved)) < 0.9], stray, doubled]).clip(0, 128).round(3)
        answers[key] = boxes.tolist(), sorted(rng.uniform(0.1, 1, len(boxes)).round(3).tolist(), reverse=True)
    return answers


def scores_of_grefcoco(answers, threshold=0.0):
    """N-acc, T-acc and Pr@F1 by the loop of gRefCOCO's scorer, number by number, with IoU as in its paper."""
    nothing, something, right = [], [], []
    for key, sample in SAMPLES["test"].items():
        boxes = [box for box, score in zip(*answers[key], strict=True) if score >= threshold]
        targets = sample.boxes.tolist()
        pairs = sorted(((iou(b, t), i, j) for i, b in enumerate(boxes) for j, t in enumerate(targets)), reverse=True)
        used, hit, true_positives = set(), set(), 0
        for overlap, i, j in pairs:
            if overlap >= 0.5 and i not in used and j not in hit:
                used.add(i)
                hit.add(j)
                true_positives += 1
        false = len(boxes) - true_positives + len(targets) - true_positives
        f1 = 2 * true_positives / (2 * true_positives + false) if boxes or targets else 1.0
        right.append(f1 >= 1)
        (something if targets else nothing).append(bool(boxes) == bool(targets))
    return {"n_acc": np.mean(nothing), "t_acc": np.mean(something), "pr@f1": np.mean(right)}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("form", ["one row", "rows of boxes"])
def test_recorded_sets_score_as_in_grefcoco(tmp_path, form, seed):
    answers = random_sets(seed)
    if form == "one row":
        rows = [{"key": key, "boxes": boxes, "scores": scores} for key, (boxes, scores) in answers.items()]
    else:  # as detections in COCO's results: the row of an empty answer says so
        rows = [
            {"key": key, "bbox": [x1, y1, x2 - x1, y2 - y1], "box_format": "xywh", "score": score}
            for key, (boxes, scores) in answers.items()
            for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True)
        ]
        rows += [{"key": key, "boxes": []} for key, (boxes, _) in answers.items() if not boxes]
    path, name = recorded_lines(tmp_path / "mine.jsonl", *rows), "recorded:mine"
    row = evaluated(tmp_path / "out", predictions=path)[name]
    expected = scores_of_grefcoco(answers)
    assert {figure: row[figure] for figure in expected} == pytest.approx(expected, abs=1e-6)
    assert row["failures"] == 0 and 0.2 < row["pr@f1"] < 0.9
    limited = evaluated(tmp_path / "out", predictions=path, options={name: {"nothing_below": 0.4}})[name]
    expected = scores_of_grefcoco(answers, 0.4)
    assert {figure: limited[figure] for figure in expected} == pytest.approx(expected, abs=1e-6)
    assert limited["pr@f1"] != row["pr@f1"]


def test_perfect_and_empty_recorded_answers(tmp_path):
    samples = SAMPLES["test"]
    perfect = [{"key": key, "boxes": sample.boxes.tolist()} for key, sample in samples.items()]
    row = evaluated(tmp_path / "a", predictions=recorded_lines(tmp_path / "a.jsonl", *perfect))["recorded:a"]
    assert [row[name] for name in ("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1")] == [1] * 5
    empty = [{"key": key, "box": []} for key in samples]
    row = evaluated(tmp_path / "b", predictions=recorded_lines(tmp_path / "b.jsonl", *empty))["recorded:b"]
    assert row["pr@f1"] == np.mean([not len(sample.boxes) for sample in samples.values()]) == 0.25
    assert row["failures"] == 0 and row["t_acc"] == 0


def test_written_predictions_of_sets_are_read_as_recorded_answers(tmp_path):
    evaluated(tmp_path / "run", "knowing", "silent")
    lines = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()]
    for name, pr_f1 in (("knowing", 0.75), ("silent", 0.25)):
        path = recorded_lines(tmp_path / f"{name}.jsonl", *(line for line in lines if line["method"] == name))
        row = evaluated(tmp_path / f"again-{name}", predictions=path)[f"recorded:{name}"]
        assert row["pr@f1"] == pr_f1 and row["failures"] == 0


def test_single_targets_keep_their_rules_for_recorded_answers(tmp_path):
    samples = list(RefShapes("refshapes", "test", scenes=1))
    boxes = [sample.box.tolist() for sample in samples]
    keys = [sample.query.key for sample in samples]
    path = recorded_lines(
        tmp_path / "mine.jsonl", {"key": keys[0], "boxes": [[0, 0, 9, 9], boxes[0]], "scores": [0.1, 0.9]},
        *({"key": key, "box": []} for key in keys[1:]),
    )  # fmt: skip
    row = evaluated(tmp_path / "out", dataset="refshapes", limit=4, predictions=path)["recorded:mine"]
    assert row["failures"] == 3 and row["acc@0.5"] == 0.25 and "n_acc" not in row
    path = recorded_lines(tmp_path / "mine.jsonl", {"key": keys[0], "boxes": [[0, 0, 9, 9], boxes[0]]})
    with pytest.raises(VGGymError, match="line 1 has 2 boxes; give one, or .scores. to choose the best"):
        evaluated(tmp_path / "out", dataset="refshapes", limit=4, predictions=path)
