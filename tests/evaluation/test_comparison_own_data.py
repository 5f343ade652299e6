"""Comparisons on data of one's own: without boxes, categories, splits or some images."""

import json

import numpy as np
import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym import registry
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.types import Prediction


class Reads:
    """Answers a box, after reading the image."""

    name = "reads"
    asked: list = []
    tired: tuple = ()

    def ground(self, queries, initial_boxes=None):
        Reads.asked.extend(q.key for q in queries)
        if any(q.key in Reads.tired for q in queries):
            raise KeyError("tired")
        return [Prediction(np.array([0, 0, q.image.array().shape[1] / 2, 48])) for q in queries]


class Mistaken:
    """Fails on everything, for one reason."""

    name = "mistaken"

    def ground(self, queries, initial_boxes=None):
        raise ZeroDivisionError("seed=x")


class Moody:
    """Fails on everything, for a reason of each query's own, while it is ``BAD``."""

    name, BAD = "moody", True

    def ground(self, queries, initial_boxes=None):
        if Moody.BAD:
            raise KeyError(queries[0].key)
        return [Prediction(np.array([0, 0, 9, 9])) for _ in queries]


@pytest.fixture(autouse=True)
def methods(monkeypatch):
    Reads.asked.clear()
    for name, kind in (("reads", "Reads"), ("mistaken", "Mistaken"), ("moody", "Moody")):
        monkeypatch.setitem(registry.GROUNDERS, name, registry.GrounderSpec(f"{__name__}:{kind}"))


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path


def compare(folder, methods=("reads",), **changes):
    given = {
        "methods": list(methods),
        "out": str(folder / "out"),
        "dataset": str(folder / "mine.jsonl"),
        "clip": "none",
    }
    return Comparison(**given | changes)


def rows_of(rows):
    return {row["method"]: row for row in rows}


def predictions(folder, method="reads"):
    lines = map(json.loads, (folder / "out" / "predictions.jsonl").read_text().splitlines())
    return {line["key"]: line for line in lines if line["method"] == method}


def both(count=6, **more):
    return rows(count, split="train", **more) + rows(count, split="test", **more)


def test_a_file_is_evaluated_with_all_its_floors(folder):
    write_rows(folder / "mine.jsonl", both(category="cup"))
    found = rows_of(compare(folder).run())
    assert list(found) == ["no-op", "full", "center", "constant", "reads"]
    assert found["reads"]["mean_iou"] == 1 and found["constant"]["mean_iou"] > 0.99 and found["reads"]["n"] == 6


def test_without_boxes_there_are_predictions_only(folder, capsys):
    bare = [{k: v for k, v in row.items() if k != "box"} for row in both()]
    write_rows(folder / "mine.jsonl", bare)
    found = compare(folder, ["reads", "center"], refine="no-op", clip="refshapes").run()
    assert [row["method"] for row in found] == ["reads", "reads + no-op", "center", "center + no-op"]
    assert all("mean_iou" not in row and row["n"] == 6 for row in found)
    kept = predictions(folder)
    assert len(kept) == 6 and all(line["box"] == [0, 0, 32, 48] for line in kept.values())
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["inputs.json", "predictions.jsonl", "settings.json"]
    said = " ".join(capsys.readouterr().out.split())
    assert "has no boxes to score against, so there are no results" in said and "predictions.jsonl" in said
    assert len(compare(folder, ["action-oracle", "reads"], clip="refshapes").run()) == 1
    assert "left out: action-oracle. It needs the true boxes" in capsys.readouterr().out
    for changes in ({"probes": True}, {"methods": []}):
        with pytest.raises(VGGymError, match="has no boxes"):
            compare(folder, **{"methods": ["reads"], "clip": "refshapes", **changes}).run()


def test_without_categories_naming_accuracy_is_left_out(folder, tiny_clip, monkeypatch):
    devices = []
    monkeypatch.setattr("vg_gym.evaluation.comparison.pick_device", lambda: "cuda")
    load = lambda name, device: devices.append(device) or tiny_clip  # noqa: E731
    monkeypatch.setattr("vg_gym.evaluation.comparison.load_clip", load)
    write_rows(folder / "mine.jsonl", both())
    row = rows_of(compare(folder, clip="tiny").run())["reads"]
    assert devices == ["cuda"]
    assert row["grounding_accuracy"] is None and -1 <= row["cosine"] <= 1
    named = both()
    named[6]["category"] = "cup"
    write_rows(folder / "mine.jsonl", named)
    row = rows_of(compare(folder, clip="tiny", fresh=True).run())["reads"]
    assert row["grounding_accuracy"] == 1  # one name, one target that has it
    assert "reads" in (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize("splits", [{"split": "test"}, {}])
def test_without_a_training_split_the_constant_floor_is_left_out(folder, capsys, splits):
    write_rows(folder / "mine.jsonl", rows(**splits))
    if not splits:
        with pytest.warns(UserWarning, match='has no "split"'):
            found = rows_of(compare(folder).run())
    else:
        found = rows_of(compare(folder).run())
    assert list(found) == ["no-op", "full", "center", "reads"] and found["reads"]["prior_gap"] is None
    said = capsys.readouterr().out
    assert "left out: constant." in said
    meta = json.loads((folder / "out" / "results.json").read_text())["meta"]
    assert "cannot be used" in meta["left_out"]["constant"]
    assert "Left out: constant" in (folder / "out" / "report.html").read_text()


@pytest.mark.filterwarnings("ignore:.*has no .split")
def test_a_constant_floor_that_is_asked_for_is_not_left_out_in_silence(folder):
    write_rows(folder / "mine.jsonl", rows(split="test"))
    with pytest.raises(VGGymError, match="constant is fitted on .*/train, which cannot be used"):
        compare(folder, ["constant"]).run()
    with pytest.raises(VGGymError, match="constant is fitted on .*/trian, which cannot be used"):
        compare(folder, train_split="trian").run()
    found = compare(folder, options={"constant": {"box": [0, 0, 0.5, 1]}}, methods=["constant"], fresh=True).run()
    assert rows_of(found)["constant"]["mean_iou"] == pytest.approx(1)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("break_image", [lambda path: path.unlink(), cut_short, lambda path: path.write_text("x")])
@pytest.mark.parametrize("size", [{}, {"width": 64, "height": 48}])
@pytest.mark.parametrize("clip", ["none", "tiny"])
def test_an_image_that_cannot_be_read_is_a_failure_and_no_more(
    folder, tiny_clip, monkeypatch, break_image, size, clip, capsys
):
    monkeypatch.setattr("vg_gym.evaluation.comparison.load_clip", lambda name, device: tiny_clip)
    write_rows(folder / "mine.jsonl", both(**size))
    break_image(folder / "images" / "1.png")
    row = rows_of(compare(folder, clip=clip, probes=True, refine="no-op").run())["reads"]
    assert row["failures"] == 2 and row["n"] == 6 and row["mean_iou"] == pytest.approx(4 / 6)
    failed = {key: line for key, line in predictions(folder).items() if line["box"] is None and "?" not in key}
    assert set(failed) == {"mine/8", "mine/11"} and all("1.png" in line["failure"] for line in failed.values())
    assert (folder / "out" / "report.html").is_file()


def test_an_image_that_was_repaired_is_asked_about_again(folder, capsys):
    write_rows(folder / "mine.jsonl", both(width=64, height=48))
    content = (folder / "images" / "1.png").read_bytes()
    cut_short(folder / "images" / "1.png")
    assert rows_of(compare(folder).run())["reads"]["failures"] == 2
    (folder / "images" / "1.png").write_bytes(content)
    assert rows_of(compare(folder).run())["reads"]["failures"] == 0
    assert "reads: pictures changed" in capsys.readouterr().err


def test_failures_are_asked_again_where_that_is_wanted(folder, monkeypatch):
    write_rows(folder / "mine.jsonl", both(width=64, height=48))
    monkeypatch.setattr(Reads, "tired", ("mine/8", "mine/11"))
    assert rows_of(compare(folder).run())["reads"]["failures"] == 2
    monkeypatch.setattr(Reads, "tired", ())
    assert rows_of(compare(folder).run())["reads"]["failures"] == 2
    Reads.asked.clear()
    assert rows_of(compare(folder, retry_failures=True).run())["reads"]["failures"] == 0
    assert Reads.asked == ["mine/8", "mine/11"]
    assert rows_of(compare(folder).run())["reads"]["mean_iou"] == 1


def test_where_no_image_can_be_read_the_run_ends(folder):
    write_rows(folder / "mine.jsonl", both())
    with pytest.raises(VGGymError, match="the images of 6 of 6 queries cannot be read; the first: no image 0.png"):
        compare(folder, dataset=str(folder / "mine.jsonl"), root=str(folder / "elsewhere")).run()


def test_a_method_s_own_mistake_ends_the_run_and_is_not_kept(folder):
    write_rows(folder / "mine.jsonl", both())
    with pytest.raises(VGGymError, match="mistaken fails on every query of its first batch: ZeroDivisionError: seed=x"):
        compare(folder, ["reads", "mistaken"]).run()
    assert not predictions(folder, "mistaken") and len(predictions(folder)) == 6


def test_a_method_that_fails_on_every_query_ends_the_run_with_its_results(folder, monkeypatch):
    write_rows(folder / "mine.jsonl", both())
    monkeypatch.setattr(Moody, "BAD", True)
    with pytest.raises(
        VGGymError, match="moody failed on every query, the first: KeyError: 'mine/7'.*--retry-failures"
    ):
        compare(folder, ["moody", "reads"]).run()
    saved = json.loads((folder / "out" / "results.json").read_text())["rows"]
    assert rows_of(saved)["moody"]["failures"] == 6 and rows_of(saved)["reads"]["mean_iou"] == 1
    monkeypatch.setattr(Moody, "BAD", False)
    assert rows_of(compare(folder, ["moody", "reads"], retry_failures=True).run())["moody"]["failures"] == 0
