"""The rehearsal of the recipe: its steps are the recipe's, each is measured once, and a failure stops no other."""

import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("ultralytics") is None:  # importing it here would change Pillow for all other tests
    pytest.skip("needs ultralytics", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import rehearsal, rehearsal_parts  # noqa: E402
from vg_gym.cli.recipe_steps import refcocog  # noqa: E402


def test_the_steps_are_those_of_the_recipe(tmp_path):
    names = [task.name for task in rehearsal.tasks(tmp_path, 2)]
    expected = {step.name for step in refcocog(1) if step.group != "baselines" and step.name != "download"}
    assert {*expected, *rehearsal.BASELINES} < {*names} and len({*names}) == len(names)
    words = {task.name: task.call.args[0] for task in rehearsal.tasks(tmp_path, 2) if task.minutes is not None}
    assert words["mdetr"][-3:] == [f"mdetr.weights={tmp_path / 'weights/mdetr'}", "--limit", "2"]
    assert f"root={tmp_path / 'small'}" in words["refiner"] and "steps=2" in words["clip"]


def test_steps_are_measured_once_and_a_failure_stops_no_other(tmp_path, capsys):
    counted = tmp_path / "counted"

    def count():
        os.write(1, b"counting\n")
        counted.write_text(counted.read_text() + "x" if counted.is_file() else "x")

    tasks = [rehearsal.Task("fails", "nothing", lambda: sys.exit(3)), rehearsal.Task("counts", "one", count, 2.5)]
    for _ in range(2):
        rehearsal.rehearse(tasks, tmp_path)
    figures = json.loads((tmp_path / "rehearsal.json").read_text())["figures"]
    assert counted.read_text() == "x" and (tmp_path / "logs/counts.log").read_text() == "counting\n"
    assert figures["fails: status"] == 3 and figures["counts: status"] == 0 and figures["counts: GPU minutes"] == 2.5
    assert figures["counts: CPU seconds"] >= 0 and 0 < figures["counts: GB"] < rehearsal.MOST_GB
    assert capsys.readouterr().out.count("fails: status 3") == 2


def test_the_small_copy_has_the_first_image_of_each_split(tmp_path):
    folder = tmp_path / "data" / "refcocog"
    (folder / "images").mkdir(parents=True)
    refs = [{"split": split, "image_id": i} for i, split in enumerate(("train", "train", "val", "test"))]
    (folder / "refs(umd).p").write_bytes(pickle.dumps(refs))
    content = {"images": [{"id": i} for i in range(4)], "annotations": [{"image_id": i} for i in range(4)]}
    (folder / "instances.json").write_text(json.dumps(content))
    rehearsal_parts.write_small(tmp_path)
    small = json.loads((tmp_path / "small/refcocog/instances.json").read_text())
    assert [row["id"] for row in small["images"]] == [row["image_id"] for row in small["annotations"]] == [0, 2, 3]
    assert len(pickle.loads((tmp_path / "small/refcocog/refs(umd).p").read_bytes())) == 3
