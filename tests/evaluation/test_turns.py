"""Methods that are asked again with their own last box."""

import json

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.evaluation.turns import is_iterated
from vg_gym.types import Prediction

SAMPLES = list(RefShapes("refshapes", "test", scenes=2))
BOXES = {sample.query.key: sample.box for sample in SAMPLES}
PLACE = {sample.query.key: place for place, sample in enumerate(SAMPLES)}
WRONG = np.array([0, 0, 8, 8], np.float32)
SEEN = []

RIGHT_IN = [
    (1, 1, 1), (1, 1, 0), (1, 0, 0), (1, 0, 1), (0, 1, 1), (0, 0, 0), (0, None, 1), (None, 0, 1),
]  # fmt: skip
"""Whether the scripted model is right about each sample in each turn; None: an answer without a box."""


class Scripted:
    """Model that knows its turn from its box: 8 x 8 pixels, the whole image, or the true box."""

    name = "scripted"
    turns: dict[str, int] = {}  # noqa: RUF012

    def ground(self, queries, initial_boxes=None):
        boxes = [None] * len(queries) if initial_boxes is None else initial_boxes
        return [self._answer(query, box) for query, box in zip(queries, boxes, strict=True)]

    def _answer(self, query, box):
        turn = self.turns[query.key] = 0 if box is None else self.turns[query.key] + 1
        SEEN.append((PLACE[query.key], turn, None if box is None else np.asarray(box).tolist()))
        right = RIGHT_IN[PLACE[query.key]][turn]
        if right is None:
            return Prediction(details={"failure": "no box in the answer"})
        return Prediction(BOXES[query.key] if right else WRONG)


@pytest.fixture
def scripted(monkeypatch):
    SEEN.clear()
    spec = registry.GrounderSpec(f"{__name__}:Scripted", refines=True, scored=False)
    monkeypatch.setitem(registry.GROUNDERS, "scripted", spec)


def compare(out, **changes):
    given = {
        "methods": ["scripted", "random"], "out": str(out), "dataset": "refshapes", "clip": "none", "limit": 8,
        "iterate": 2, "options": {"constant": {"box": (0, 0, 1, 1)}},
    }  # fmt: skip
    return {row["method"]: row for row in Comparison(**given | changes).run()}


def test_each_turn_starts_from_the_boxes_of_the_turn_before(scripted, tmp_path):
    compare(tmp_path)
    sizes = {key: [0, 0, *sample.query.image.size] for key, sample in zip(range(8), SAMPLES, strict=True)}
    boxes = {(place, turn): box for place, turn, box in SEEN}
    assert len(SEEN) == 24 and all(boxes[place, 0] is None for place in range(8))
    for place, turns in enumerate(RIGHT_IN):
        for turn, right in enumerate(turns[:2]):
            truth = SAMPLES[place].box.tolist()
            before = {1: truth, 0: WRONG.tolist(), None: sizes[place]}[right]
            assert boxes[place, turn + 1] == pytest.approx(before, abs=1e-3)


def test_the_table_has_iou_and_corrections_of_each_turn(scripted, tmp_path, capsys):
    rows = compare(tmp_path)
    one, two, three = (rows[name] for name in ("scripted", "scripted turn 2", "scripted turn 3"))
    assert (one["acc@0.5"], two["acc@0.5"], three["acc@0.5"]) == (4 / 8, 3 / 8, 5 / 8)
    assert one["mean_iou"] > two["mean_iou"] < three["mean_iou"]
    assert (two["made_right"], two["made_wrong"], two["turn"], two["refines"]) == (1, 2, 2, "scripted")
    assert (two["share_made_right"], two["share_made_wrong"]) == (1 / 4, 2 / 4)
    assert (three["made_right"], three["made_wrong"], three["refines"]) == (3, 1, "scripted turn 2")
    assert (three["share_made_right"], three["share_made_wrong"]) == (3 / 5, 1 / 3)
    assert "turn" not in one and not any(name.startswith("random turn") for name in rows)
    printed = capsys.readouterr().out
    assert "wrong made right" in printed and "right made wrong" in printed and "scripted turn 3" in printed
    saved = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["turn"] for row in saved if "turn" in row] == [2, 3]


def test_turns_stand_beside_other_refiners(scripted, tmp_path):
    rows = compare(tmp_path, refine="agent:refiner", methods=["scripted"], iterate=1)
    assert [name for name in rows if "scripted" in name] == ["scripted", "scripted turn 2", "scripted + agent:refiner"]
    assert rows["scripted + agent:refiner"]["share_made_wrong"] is not None


def test_turns_are_reused_and_renewed_with_the_turn_before(scripted, tmp_path):
    compare(tmp_path, iterate=1)
    SEEN.clear()
    rows = compare(tmp_path, iterate=1)
    assert not SEEN and rows["scripted turn 2"]["reused"] == 8


def test_methods_that_take_no_box_are_an_error(tmp_path):
    with pytest.raises(VGGymError, match="--iterate 2: none of the methods takes initial boxes; those that do: .*vlm"):
        compare(tmp_path, methods=["random"])
    with pytest.raises(VGGymError, match="give 0 or more"):
        compare(tmp_path, methods=["random"], iterate=-1)


def test_what_is_asked_again():
    names = [name for name in registry.list_grounders() if is_iterated(name)]
    assert {"vlm", "api", "agent", "diffusion"} <= set(names) and not {"no-op", "florence-2", "yolo-clip"} & set(names)


def test_shares_of_nothing_are_none(scripted, tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.RIGHT_IN", [(1, 1)] * 8)
    row = compare(tmp_path, iterate=1)["scripted turn 2"]
    assert (row["made_right"], row["share_made_right"], row["share_made_wrong"]) == (0, None, 0)
