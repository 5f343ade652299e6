import pytest

from vg_gym.errors import VGGymError
from vg_gym.evaluation.options import method_options, options_of, owners, sweep


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
