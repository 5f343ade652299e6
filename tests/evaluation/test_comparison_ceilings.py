"""A ceiling is of the moves that it bounds, and its row says which; every row says what its parts have seen."""

import json

import pytest

from vg_gym import registry
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.report.leaderboard import markdown, ranked, read_folder
from vg_gym.types import Prediction

SEES = "(sees the answer)"


class Mover:
    """Answers the whole image, and says with which moves an agent would play."""

    name, seen = "mover", {"method": "nothing", "CLIP": "captions"}

    def __init__(self, action="edges", max_steps=3):
        self.moves = {"action": action, "max_steps": max_steps}

    def ground(self, queries, initial_boxes=None):
        return [Prediction([0, 0, *query.image.size]) for query in queries]


@pytest.fixture
def compare(tmp_path, monkeypatch):
    for name in ("first", "second"):
        monkeypatch.setitem(registry.GROUNDERS, name, registry.GrounderSpec(f"{__name__}:Mover"))

    def rows(*methods, **options):
        given = {"dataset": "refshapes", "limit": 8, "clip": "none", "out": str(tmp_path / "out")}
        named = {name.replace("_", "-"): value for name, value in options.items()}
        return {row["method"]: row for row in Comparison(methods, options=named, **given).run()}

    return rows


def roles(rows):
    return {name: row["role"] for name, row in rows.items() if row["role"].startswith("ceiling")}


@pytest.mark.parametrize("methods", [("first", "action-oracle"), ("action-oracle", "first")])
def test_the_ceiling_is_of_the_moves_of_the_agent_beside_it(compare, methods):
    assert roles(compare(*methods)) == {
        "action-oracle": f"ceiling of edges in 3 steps, from the whole image {SEES}"
    }  # fmt: skip


def test_agents_with_other_moves_have_a_ceiling_each(compare):
    rows = compare("first", "second", "action-oracle", second={"max_steps": 5})
    assert roles(rows) == {
        "action-oracle of first": f"ceiling of edges in 3 steps, from the whole image {SEES}",
        "action-oracle of second": f"ceiling of edges in 5 steps, from the whole image {SEES}",
    }
    assert rows["action-oracle of second"]["mean_iou"] > rows["action-oracle of first"]["mean_iou"]
    same = compare("first", "second", "action-oracle")
    assert list(roles(same)) == ["action-oracle"]


def test_options_of_the_ceiling_count_and_may_be_several(compare):
    assert roles(compare("action-oracle")) == {
        "action-oracle": f"ceiling of multi-edges in 12 steps, from the whole image {SEES}"
    }
    swept = compare("first", "action-oracle", action_oracle={"action": "fine-edges", "max_steps": "1,2"})
    assert roles(swept) == {
        f"action-oracle[max_steps={steps}]": f"ceiling of fine-edges in {steps} steps, from the whole image {SEES}"
        for steps in (1, 2)
    }


def test_no_built_in_agent_exceeds_its_ceiling(compare):
    rows = compare("agent:refshapes", "agent:refshapes-clip", "action-oracle")
    for agent in ("agent:refshapes", "agent:refshapes-clip"):
        assert rows[f"action-oracle of {agent}"]["mean_iou"] > rows[agent]["mean_iou"]


def test_rows_pages_and_leaderboards_say_what_parts_have_seen(compare, tmp_path, capsys):
    compare("first", "action-oracle")
    said = " ".join(capsys.readouterr().out.split())
    assert "what each part has seen of the truth: no-op, full, center: method: nothing" in said
    assert "first: method: nothing; CLIP: captions" in said
    saved = {row["method"]: row for row in json.loads((tmp_path / "out" / "results.json").read_text())["rows"]}
    assert saved["first"]["seen"] == Mover.seen and saved["action-oracle"]["seen"] == {"method": "the answer"}
    assert "CLIP: captions" in (tmp_path / "out" / "report.html").read_text()
    table = markdown(ranked(read_folder(tmp_path), tmp_path))
    assert "| method: nothing; CLIP: captions |" in table and "action-oracle (ceiling of edges in 3 steps" in table
