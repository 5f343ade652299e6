"""Folders of results, as an evaluation leaves them, of methods with given IoUs."""

import json

from tests.evaluation.rows import row
from vg_gym.evaluation.results import hash_of_samples, write_queries, write_results

FLOOR = 0.1
"""IoU of the floor on every query."""


def write_run(folder, samples, limit=None, **methods):
    """Write ``results.json`` and ``queries.jsonl`` of a floor and of methods by name; returns the former's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row("full", "floor", [FLOOR] * len(samples), samples)]
    rows += [row(name, "method", ious, samples) for name, ious in methods.items()]
    write_queries(folder, samples, rows)
    kept = [{k: v for k, v in one.items() if k != "ious"} for one in rows]
    write_results(folder, {"limit": limit, "content": hash_of_samples(samples)}, kept)
    return folder / "results.json"


def change(path, edit):
    """Edit what a JSON file holds."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
