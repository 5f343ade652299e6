"""The tables of results are those of the files that hold their figures."""

import doctest
import importlib.util
import json
import re
from pathlib import Path

import pytest

from vg_gym.cli.figures import write_figures

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("tables", ROOT / "docs/tables.py")
assert SPEC and SPEC.loader
tables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tables)

WITH_TABLES = [page for page in tables.PAGES if tables.TABLE.search(page.read_text())]
FIGURE = re.compile(r"\d\.\d\d|(?<=\| )\d[\d.,]*(?:%| GB| s)? \|")
"""A table with such cells holds results."""
MEASURED = [ROOT / f"docs/{name}.md" for name in ("methods", "performance", "scale", "robustness")]
"""Pages with figures, beside those of results."""
OPTIONS = re.compile("<!-- options: .*?<!-- /options -->", re.DOTALL)
"""Another kind of table that a command writes."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_TABLES, ids=named)
def test_tables_are_what_the_files_say(page):
    text = page.read_text()
    assert tables.rewritten(text) == text, "run: python docs/tables.py"


@pytest.mark.parametrize("page", WITH_TABLES, ids=named)
def test_a_figure_changed_by_hand_is_seen(page):
    text = page.read_text()
    table = tables.TABLE.search(text)
    at = FIGURE.search(text, table.end(1)).start()
    forged = f"{text[:at]}{9 - int(text[at])}{text[at + 1 :]}"
    assert tables.rewritten(forged) == text


QUOTING = ROOT / "docs/results/mistakes.md"
"""Page of messages, which quote numbers; ``experiments/mistakes.py`` writes it whole."""


@pytest.mark.parametrize("page", sorted({*MEASURED, *(ROOT / "docs/results").glob("*.md")} - {QUOTING}), ids=named)
def test_no_results_stand_outside_the_markers(page):
    left = OPTIONS.sub("", tables.TABLE.sub("", page.read_text()))
    assert not [line for line in left.splitlines() if line.startswith("|") and FIGURE.search(line)]


@pytest.mark.parametrize("file", sorted(tables.DATA.glob("*.json")), ids=lambda file: file.stem)
def test_a_whole_table_stands_on_one_page_with_its_commands(file):
    pages = [page.read_text() for page in WITH_TABLES if f"<!-- table: {file.stem} -->" in page.read_text()]
    assert len(pages) == 1
    table = tables.read(file.stem)
    assert table["source"]
    assert not [command for command in tables.commands(table) if command not in pages[0]]


def test_examples_in_docstrings():
    assert doctest.testmod(tables).failed == 0


@pytest.fixture
def run(tmp_path):
    """A table's file and the results of its command."""
    columns = {
        "method": "{row[label]}",
        "IoU": "{row[mean_iou]:.2f}",
        "best proposal": "{row[proposal_oracle][acc@0.5]:.1f}",
        "refined": "{row[refined][agent:refiner][mean_iou]:.2f}",
    }
    table = {
        "command": "evaluate",
        "source": "?",
        "columns": columns,
        "rows": [{"label": "ours", "method": "yolo-clip"}],
    }
    results = {
        "meta": {"command": "evaluate", "date": "2030-01-02T03:04:05", "versions": {"torch": "2"}},
        "rows": [
            {"method": "yolo-clip", "mean_iou": 0.123456789, "ms_per_query": 3},
            {"method": "yolo-clip proposal-oracle", "acc@0.5": 1.0, "mean_iou": 0.9},
            {"method": "yolo-clip + agent:refiner", "refines": "yolo-clip", "mean_iou": 0.75, "by_kind": {}},
        ],
    }
    tables.write(tmp_path / "table.json", table)
    (tmp_path / "results.json").write_text(json.dumps(results))
    return tmp_path


def test_figures_are_taken_from_a_run(run):
    tables.extract(run / "table.json", run / "results.json")
    table = json.loads((run / "table.json").read_text())
    assert table["source"].startswith("results.json of 2030-01-02")
    assert table["rows"][0]["mean_iou"] == 0.12346 and "ms_per_query" not in table["rows"][0]
    assert tables.rendered(table).splitlines()[2] == "| ours | 0.12 | 1.0 | 0.75 |"


def test_figures_are_taken_from_a_benchmark(tmp_path):
    row = {"label": "steps", "figures": {"rate": "raw: steps/s", "n": "steps"}}
    table = {
        "command": "bench",
        "source": "?",
        "columns": {"": "{row[label]}", "a second": "{row[rate]:,}"},
        "rows": [row],
    }
    tables.write(tmp_path / "speed.json", table)
    write_figures(tmp_path / "out.json", {"raw: steps/s": 35412.3, "steps": 70123}, "bench")
    tables.extract(tmp_path / "speed.json", tmp_path / "out.json")
    new = json.loads((tmp_path / "speed.json").read_text())
    assert new["source"].startswith("figures of 20") and new["rows"] == [{**row, "rate": 35400, "n": 70123}]
    assert tables.rendered(new).splitlines()[2] == "| steps | 35,400 |"
    write_figures(tmp_path / "out.json", {"steps": 70123}, "bench")
    with pytest.raises(SystemExit, match="out.json lacks raw: steps/s: run the whole command"):
        tables.extract(tmp_path / "speed.json", tmp_path / "out.json")


def test_figures_of_another_command_are_refused(run):
    results = (run / "results.json").read_text().replace('"evaluate"', '"evaluate --limit 5"')
    (run / "results.json").write_text(results)
    with pytest.raises(SystemExit, match="another command than table.json names: evaluate --limit 5"):
        tables.extract(run / "table.json", run / "results.json")


def test_a_part_of_the_rows_may_be_of_another_run(run):
    table = json.loads((run / "table.json").read_text())
    table["columns"] = {"": "{row[label]}", "hard": "{row[hard][mean_iou]:.1f}", "easy": "{row[easy][mean_iou]:.1f}"}
    tables.write(run / "table.json", table)
    tables.extract(run / "table.json", run / "results.json", "hard")
    assert tables.rendered(json.loads((run / "table.json").read_text())).endswith("| ours | 0.1 |  |\n")
