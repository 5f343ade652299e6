import json
import re
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from vg_gym import registry
from vg_gym.clip.finetuning.model import save_model
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError, importing
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.methods import method_options
from vg_gym.types import Prediction

CALLS = []
PLACES = {sample.query.key: place % 4 for place, sample in enumerate(RefShapes("refshapes", "test", scenes=6))}
"""Key of a query -> number of its expression in its scene."""


class Clumsy:
    """Raises on some queries, answers nonsense on others, and remembers what it was asked."""

    name = "clumsy"

    def ground(self, queries, initial_boxes=None):
        CALLS.extend(q.key for q in queries)
        if any(not hasattr(q, "expression") or hasattr(q, "box") for q in queries):
            raise AssertionError("a grounder was given an answer")
        places = [PLACES[q.key] for q in queries]
        if 1 in places:
            raise ZeroDivisionError("clumsy")
        bad = {2: np.array([np.nan, 0, 1, 1]), 3: np.array([5, 5, 900, 900])}
        return [Prediction(bad.get(place, np.array([0, 0, 64, 64]))) for place in places]


@pytest.fixture
def clumsy(monkeypatch):
    CALLS.clear()
    monkeypatch.setitem(registry.GROUNDERS, "clumsy", registry.GrounderSpec(f"{__name__}:Clumsy"))


def compare(out, methods=(), **changes):
    given = {"methods": list(methods), "out": str(out), "dataset": "refshapes", "clip": "none", "limit": 24}
    return Comparison(**given | changes)


def rows_of(rows):
    return {row["method"]: row for row in rows}


def test_every_table_has_its_floors_and_the_schema(tmp_path):
    rows = rows_of(compare(tmp_path, ["random", "action-oracle"], command="python evaluate.py").run())
    assert list(rows) == ["no-op", "full", "center", "constant", "random", "action-oracle"]
    assert rows["action-oracle"]["mean_iou"] > 0.85 and "answer" in rows["action-oracle"]["role"]
    saved = json.loads((tmp_path / "results.json").read_text())
    wanted = {"method", "dataset", "split", "n", "acc@0.25", "acc@0.5", "acc@0.75", "mean_iou", "giou_acc@0.5",
              "failures",               "acc@0.5_ci", "mean_iou_ci", "cosine", "euclidean", "dot", "grounding_accuracy",
              "ms_per_query"}  # fmt: skip
    for row in saved["rows"]:
        assert wanted <= row.keys() and row["n"] == 24 and set(row["by_kind"]) == {
            "attribute", "location", "size", "relation"}  # fmt: skip
    assert saved["meta"]["command"] == "python evaluate.py"
    page = (tmp_path / "report.html").read_text()
    assert "action-oracle" in page and "data:image/jpeg" in page
    assert set(re.findall(r"https?://[^\"' )]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    lines = [json.loads(x) for x in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    paths = [line["trajectory"] for line in lines if line["method"] == "action-oracle"]
    assert len(paths) == 24 and all(path[0] == [0, 0, 128, 128] for path in paths)
    assert not any("trajectory" in line for line in lines if line["method"] != "action-oracle")


def test_failures_score_zero_and_are_counted(clumsy, tmp_path):
    row = rows_of(compare(tmp_path, ["clumsy"]).run())["clumsy"]
    assert row["failures"] == 18 and row["n"] == 24
    lines = [json.loads(x) for x in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    mine = {x["key"]: x for x in lines if x["method"] == "clumsy"}
    assert len(mine) == 24 and sum(x["box"] is None for x in mine.values()) == 18
    assert any("ZeroDivisionError" in x.get("failure", "") for x in mine.values())


class Needy:
    """Needs a package that is not installed."""

    def __init__(self):
        with importing("needy", "nothing", "yolo"):
            import no_such_package_xyz  # noqa: F401


@pytest.mark.parametrize(
    ("methods", "changes", "message"),
    [
        (["clumsy", "nobody"], {}, "unknown method 'nobody'"),
        (["clumsy", "center"], {"options": {"center": {"fractoin": 1}}}, "'fractoin'"),
        (["clumsy", "agent:no/such/run"], {}, "no/such/run"),
        (["clumsy", "needy"], {}, "needy needs nothing: pip install"),
        (["clumsy", "action-oracle"], {"options": {"action-oracle": {"steps": 1}}}, "'steps'"),
        (["clumsy"], {"refine": "needy"}, "needy needs nothing: pip install"),
        (["clumsy"], {"predictions": "no-such-file.jsonl"}, "no-such-file.jsonl"),
        (["clumsy"], {"clip": "nobody"}, "nobody"),
    ],
)
def test_every_mistake_is_reported_before_anything_is_predicted(
    clumsy, tmp_path, monkeypatch, methods, changes, message
):
    monkeypatch.setitem(registry.GROUNDERS, "needy", registry.GrounderSpec(f"{__name__}:Needy"))
    with pytest.raises(VGGymError, match=message):
        compare(tmp_path, methods, **changes).run()
    assert not CALLS and not list(tmp_path.rglob("predictions.jsonl"))


class Interrupted:
    """Answers the first batch, then is interrupted, as long as ``ARMED`` says so."""

    name, ARMED = "interrupted", True

    def ground(self, queries, initial_boxes=None):
        if CALLS and Interrupted.ARMED:
            raise KeyboardInterrupt
        CALLS.extend(q.key for q in queries)
        return [Prediction(np.array([0, 0, 64, 64])) for _ in queries]


def test_a_killed_run_resumes_and_other_settings_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.GROUNDERS, "interrupted", registry.GrounderSpec(f"{__name__}:Interrupted"))
    CALLS.clear()
    Interrupted.ARMED = True
    with pytest.raises(VGGymError, match="same command"):
        compare(tmp_path, ["interrupted"], limit=100).run()
    assert len(CALLS) == 64
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write('{"method": "interrupted", "key": "refsh')  # a line cut off by a kill
    Interrupted.ARMED = False
    rows = rows_of(compare(tmp_path, ["interrupted"], limit=100).run())
    assert rows["interrupted"]["n"] == 100 and len(CALLS) == len(set(CALLS)) == 100
    compare(tmp_path, ["interrupted"], limit=100).run()
    assert len(CALLS) == 100
    with pytest.raises(VGGymError, match="other content, limit"):
        compare(tmp_path, ["interrupted"], limit=8).run()
    compare(tmp_path, ["full"], limit=8, fresh=True).run()


def test_crop_metrics_probes_and_refinement(tiny_clip, tmp_path):
    save_model(tiny_clip, tmp_path / "clip")
    rows = rows_of(
        compare(
            tmp_path / "out", ["clip-window"], clip=str(tmp_path / "clip"), limit=8, probes=True, refine="no-op"
        ).run()
    )
    row = rows["clip-window"]
    assert -1 <= row["cosine"] <= 1 and 0 <= row["grounding_accuracy"] <= 1 and row["evaluations"] == 100
    assert row["probes"].keys() == {"empty", "shuffled", "swapped"}
    refined = rows["clip-window + no-op"]
    assert refined["mean_iou"] == pytest.approx(row["mean_iou"], abs=1e-4)
    assert refined["refined_by"]["mean"] == pytest.approx(0, abs=1e-4) and refined["refined_by"]["ci"] is None
    assert refined["refined_by_acc@0.5"]["mean"] == 0 and refined["refines"] == "clip-window"
    assert "no-op + no-op" not in rows and "center + no-op" not in rows
    with Image.open(tmp_path / "out" / "refined.png") as drawn:
        assert drawn.width >= 300
    assert "Before and after refinement" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("dataset", "clip"),
    [("refscenes", "refscenes-regions"), ("refshapes", "refshapes"), ("mine.jsonl", "ViT-B-32:openai")],
)
def test_without_crop_metrics_methods_take_the_clip_of_the_data_set(dataset, clip, tmp_path):
    comparison = Comparison(dataset=dataset, methods=["ssd-clip"], clip="none", out=str(tmp_path))
    assert comparison._factory("ssd-clip").clip == clip


def test_recorded_predictions(tmp_path):
    data = registry.open_dataset("refshapes", "test")
    lines = [json.dumps({"key": data[i].query.key, "box": data[i].box.tolist()}) for i in range(20)]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="4 of 24 queries have no answer"):
        row = rows_of(compare(tmp_path / "out", predictions=str(tmp_path / "p.jsonl")).run())["recorded:p"]
    assert row["mean_iou"] == pytest.approx(20 / 24, abs=1e-3) and row["failures"] == 4


class Staged:
    """Stands for a two-stage pipeline: remembers what it was built with."""

    built: ClassVar[list] = []

    def __init__(self, proposer, weights="", clip="", parse=False):
        Staged.built.append((proposer, weights, clip, parse))

    def ground(self, queries, initial_boxes=None):
        return [Prediction(np.array([0, 0, 64, 64])) for _ in queries]


def test_options_of_a_proposer_go_to_its_pipelines(tmp_path, monkeypatch):
    for name, proposer in (("first", "yolo"), ("second", "ssd")):
        fixed = {"proposer": proposer}
        spec = registry.GrounderSpec(f"{__name__}:Staged", fixed=fixed, proposer=proposer, takes_clip=True)
        monkeypatch.setitem(registry.GROUNDERS, name, spec)
    Staged.built.clear()
    options = method_options(["yolo.weights=x.pt", "second.parse=true", "ssd.weights=y", "second.weights=z"])
    compare(tmp_path, ["first", "second"], options=options, clip="refshapes", limit=4).run()
    assert Staged.built == [("yolo", "x.pt", "refshapes", False), ("ssd", "z", "refshapes", True)]
    with pytest.raises(VGGymError, match="'detr', which none of the methods is or uses"):
        compare(tmp_path, ["first"], options=method_options(["detr.weights=x"]))


def test_where_a_prior_is_planted_its_gap_is_reported(tmp_path):
    rows = rows_of(compare(tmp_path / "biased", ["action-oracle"], dataset="refshapes-biased", limit=80).run())
    planted = rows["action-oracle"]["planted_prior"]
    assert planted["agree"] == planted["conflict"] == 1 and planted["gap"] == 0
    assert planted["n_agree"] > 10 and planted["n_conflict"] > 10
    assert "planted prior" in (tmp_path / "biased" / "report.html").read_text()
    assert rows_of(compare(tmp_path / "plain").run())["no-op"]["planted_prior"] is None
    assert "planted prior" not in (tmp_path / "plain" / "report.html").read_text()


class Steady:
    """Answers a box of a given size, or what it is started from."""

    def __init__(self, size=10, shift=0.0):
        self.name, self.size, self.shift = "steady", size, shift

    def ground(self, queries, initial_boxes=None):
        own = np.array([self.shift, 0, self.shift + self.size, self.size])
        return [Prediction(own if initial_boxes is None else initial_boxes[i]) for i in range(len(queries))]


def test_several_values_of_an_option_are_a_row_each(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(registry.GROUNDERS, "steady", registry.GrounderSpec(f"{__name__}:Steady"))
    options = method_options(["steady.size=10,20", "steady.shift=0,2.5"])
    rows = rows_of(compare(tmp_path, ["steady"], options=options, refine="no-op,steady").run())
    lines = map(json.loads, (tmp_path / "predictions.jsonl").read_text().splitlines())
    boxes = {(line["method"], tuple(line["box"])) for line in lines}
    for size in (10, 20):
        for shift in (0, 2.5):
            row = f"steady[size={size},shift={shift}]"
            assert (row, (shift, 0, shift + size, size)) in boxes
            assert rows[f"{row} + no-op"]["refines"] == rows[f"{row} + steady"]["refines"] == row
    assert "steady" not in rows and "steady[size=20,shift=2.5]" in capsys.readouterr().out
