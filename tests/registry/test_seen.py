"""Every built-in part says what it has seen of the truth, and no built-in method is label-free."""

import json

import pytest

from vg_gym import registry
from vg_gym.agents.supervision import NO_BOXES, UNRECORDED, seen_by_agent, seen_in_training
from vg_gym.cli.listing import seen_table
from vg_gym.registry.seen import OWN_METHOD, OWN_WEIGHTS, seen_by, seen_by_clip, seen_by_proposer, seen_text
from vg_gym.registry.tables import EXPRESSION_BOXES
from vg_gym.storage.assets import ASSETS, built_in_names

BLIND = {"no-op", "full", "center", "random", "constant"}
"""Methods that read neither image nor words."""


@pytest.mark.parametrize("name", [name for name in registry.GROUNDERS if name != "agent"])
def test_every_grounder_says_what_it_has_seen(name):
    seen = seen_by(name, {})
    spec = registry.GROUNDERS[name]
    assert OWN_METHOD not in seen.values() and all(seen.values())
    assert ("CLIP" in seen) >= spec.takes_clip and ("detector" in seen) >= bool(spec.proposer)


@pytest.mark.parametrize("name", registry.PROPOSERS)
def test_every_proposer_says_what_it_has_seen(name):
    assert seen_by_proposer(name) not in ("", OWN_METHOD)


@pytest.mark.parametrize("name", ["mdetr", "transvg", "dynamic-mdetr", "red", "diffusion"])
def test_what_a_network_has_seen_is_what_its_spec_says(name):
    assert registry.grounder(name).seen == seen_by(name, {})


@pytest.mark.parametrize("name", built_in_names("agent"))
def test_what_an_agent_has_seen(name):
    agent = registry.grounder(f"agent:{name}")
    seen = seen_by(f"agent:{name}", {}, "refshapes", agent)
    assert seen == agent.seen and seen["CLIP"] == ("captions" if "captions" in name else EXPRESSION_BOXES)
    assert seen["method"] == (NO_BOXES if "label-free" in name or "captions" in name else EXPRESSION_BOXES)
    assert seen["detector"] == ("nothing" if agent.options.proposals == "contours" else "boxes of classes")


def test_of_built_in_methods_that_can_see_only_words_alone_are_label_free():
    assert seen_by("yolo-words", {}) == {"method": "nothing", "detector": "boxes of classes"}
    for name, spec in registry.GROUNDERS.items():
        if name not in BLIND | {"agent", "yolo-words"} and (spec.takes_clip or spec.weights):
            assert EXPRESSION_BOXES in seen_by(name, {}).values(), name


def test_parts_of_ones_own_are_unknown(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.GROUNDERS, "mine", registry.GrounderSpec("a:b", takes_clip=True))
    assert seen_by("mine", {}, "ViT-B-32:openai") == {"method": OWN_METHOD, "CLIP": "captions"}
    (tmp_path / "w.pt").write_text("")
    assert seen_by_clip(f"ViT-B-32:{tmp_path / 'w.pt'}") == OWN_WEIGHTS
    assert seen_by_clip("refshapes+ViT-B-32:openai") == f"{EXPRESSION_BOXES} and captions"
    assert seen_by("yolo-clip", {"weights": str(tmp_path / "w.pt")})["detector"] == OWN_WEIGHTS
    assert seen_by("mdetr", {"weights": str(tmp_path)})["method"] == OWN_WEIGHTS


def test_of_built_in_clips_one_saw_captions_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("vg_gym.registry.seen.built_in", lambda kind, name: tmp_path)
    seen = [seen_by_clip(name) for name in ("refscenes-captions", "refscenes-regions", "refshapes")]
    assert seen == ["captions", EXPRESSION_BOXES, EXPRESSION_BOXES]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (("clip", "full", False), NO_BOXES), (("iou", "full", False), EXPRESSION_BOXES),
        (("clip+iou", "full", False), EXPRESSION_BOXES), (("clip", "full", True), EXPRESSION_BOXES),
        (("clip", "full,jitter", False), EXPRESSION_BOXES),
        (("clip", "full", False, EXPRESSION_BOXES), EXPRESSION_BOXES),
    ],
)  # fmt: skip
def test_what_training_shows_an_agent(given, seen):
    assert seen_in_training(*given) == seen


def test_an_agent_that_does_not_say_is_not_called_label_free():
    about = {"env": {"reward": "clip", "initial_box": "full"}}
    seen = seen_by_agent(about, "ViT-B-32:openai", "", "yolo-clip")
    assert seen == {
        "method": UNRECORDED,
        "CLIP": "captions",
        "initial boxes": "nothing and captions and boxes of classes",
    }
    assert seen_by_agent({**about, "seen": NO_BOXES}, "refshapes", "", "full")["method"] == NO_BOXES


def test_the_table_has_every_part(capsys):
    lines = seen_table().splitlines()
    for name in (*registry.GROUNDERS, *(f"agent:{name}" for name in built_in_names("agent"))):
        assert name == "agent" or any(line.startswith(f"| `{name}` |") for line in lines), name
    assert any(line == f"| CLIP `refshapes` | {EXPRESSION_BOXES} |" for line in lines)
    assert json.loads((ASSETS / "agent-refshapes-label-free" / "agent.json").read_text())["seen"] == NO_BOXES
    assert seen_text({"method": "nothing", "detector": "masks"}) == "method: nothing; detector: masks"
