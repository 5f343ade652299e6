import json
import pickle

import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym import registry
from vg_gym.errors import VGGymError, importing
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.methods import (
    GrounderFactory,
    Unfitted,
    build_ceiling,
    method_options,
    options_of,
    owners,
    sweep,
)


@pytest.mark.parametrize(
    ("pair", "message"), [("score=cosine", "METHOD.KEY=VALUE"), ("clip-windo.score=1", "did you mean 'clip-window'")]
)
def test_bad_method_options_are_named(pair, message):
    with pytest.raises(VGGymError, match=message):
        method_options([pair])


def test_method_options_are_parsed():
    assert method_options(["clip-window.step=0.5", "constant.box=[0,0,1,1]"]) == {
        "clip-window": {"step": 0.5},
        "constant": {"box": [0, 0, 1, 1]},
    }


def test_several_numbers_are_a_sweep_and_nothing_else_is():
    options = {"steps": "1,2", "shift": "0,-2.5", "views": "crop,blur", "counts": [1, 2], "seed": 3}
    assert sweep("m", options) == {
        f"m[steps={steps},shift={shift}]": {"steps": steps, "shift": shift} for steps in (1, 2) for shift in (0, -2.5)
    }
    assert sweep("m", {"views": "crop,blur"}) == {"m": {}}


def test_a_pipeline_takes_its_proposer_s_options_and_its_own_first():
    options = {"yolo": {"weights": "a", "device": "x"}, "reclip": {"weights": "b"}, "agent": {"max_steps": 3}}
    assert options_of("reclip", options) == {"weights": "b", "device": "x"}
    assert options_of("agent:runs/x", options) == {"max_steps": 3} and options_of("center", options) == {}
    assert owners("reclip") == ("yolo", "reclip") and owners("action-oracle") == ("action-oracle",)


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
