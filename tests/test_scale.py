"""What grows with the data: two thousand rows through all parts of ``benchmarks/million_rows.py``, and what is held."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from benchmarks import million_rows
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.features.command import queries_of
from vg_gym.registry import open_dataset

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return million_rows.generate(tmp_path_factory.mktemp("rows"), 2000)


def test_the_rows_are_what_they_are_said_to_be(data):
    train, every = open_dataset(str(data), "train"), open_dataset(str(data), "all")
    assert len(every) == 2000 and len({sample.query.expression for sample in every}) == 2000
    assert len({sample.image_id for sample in every}) == 200 and len(train) == 1980
    assert every[7].query.image.array().shape == (64, 64, 3)
    assert data == million_rows.generate(data.parent, 2000)


def test_an_evaluation_holds_numbers_and_not_samples(data, tmp_path, monkeypatch):
    """What it holds of a row, bootstrap and predictions included, is less than half of what its sample alone takes."""
    monkeypatch.setattr("vg_gym.evaluation.evaluator.SAMPLES_IN_MEMORY", 10)
    every = open_dataset(str(data), "all")
    tracemalloc.start()
    kept = [every[i] for i in range(len(every))]
    naive = tracemalloc.get_traced_memory()[0]
    del kept
    tracemalloc.clear_traces()
    evaluator = Evaluator(every, tmp_path, {})
    lines = evaluator.predict("full", lambda: full)
    evaluator.add("full", "floor", Answers.of(lines))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(evaluator.samples) == 2000 and 2 * held < naive


def full(batch):
    """The whole image, for each query of a batch."""
    return [{"key": query.key, "ms": 1.0, "box": [0.0, 0.0, *map(float, query.image.size)]} for query in batch[0]]


def test_queries_of_features_are_made_when_their_turn_comes(data):
    tracemalloc.start()
    queries = queries_of(str(data), None, ["train", "val", "test"])
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(queries) == 2000 and queries[-1].expression.endswith("9") and held < 1000 * 2000
    assert [len(queries_of(str(data), None, ["train", "val"], limit)) for limit in (1, 3)] == [20, 40]


@pytest.mark.slow
def test_all_parts_stay_below_their_bound(tmp_path):
    out = tmp_path / "small.json"
    command = [
        sys.executable,
        "benchmarks/million_rows.py",
        "--rows",
        "2000",
        "--steps",
        "600",
        "--limit",
        "20",
        "--ray",
    ]
    subprocess.run([*command, "--json", str(out)], check=True, cwd=ROOT)
    figures = json.loads(out.read_text())["figures"]
    peaks = [figure for name, figure in figures.items() if name.endswith(": peak")]
    assert figures["with Ray: differ"] == "" and len(peaks) == 8
    assert all(0.02 < peak < 3 for peak in peaks)
