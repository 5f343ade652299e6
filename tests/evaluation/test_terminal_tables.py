import re
from functools import cache

import numpy as np
import pytest

from tests.evaluation.rows import row
from vg_gym.evaluation.paired import IOU, Pair, Pairing
from vg_gym.evaluation.terminal_tables import print_counts, print_pairs, print_table


def test_the_table_has_a_line_for_each_row(capsys):
    both = {"refined_by": {"mean": 0.25, "ci": [0.1, 0.4]}}
    rows = [row("full", "floor", [0.1] * 8), row("<b>mine</b>", "method", [0.4] * 8)]
    print_table([*rows, row("mine + agent", "refined", [0.65] * 8, **both)], "a title")
    output = capsys.readouterr().out
    assert "a title" in output and "<b>mine</b>" in output and "0.400" in output
    assert "+0.250" in output and "+0.100 to +0.400" in output
    print_table(rows, "plain")
    assert "refined by" not in capsys.readouterr().out


LONG = [
    "agent:refshapes-label-free-proposals", "my_package.methods.colour:SaturationGrounder", "mdetr",
    "yolo-clip[min_confidence=0.05,margin=0.25,views=3]",
]  # fmt: skip
BOUND = "ceiling of fine-edges in 8 steps (sees the answer)"


@cache
def one_row():
    """A row of a method."""
    return row("mine", "method", [0.2, 0.6] * 40, evaluations=1234.5, failures=3)


def rows_of(count, **columns):
    """A floor, ``count`` methods with long names, and a ceiling."""
    roles = {"no-op": "floor", **{f"{LONG[i % len(LONG)]}{i}": "method" for i in range(count)}, "action-oracle": BOUND}
    return [{**one_row(), "method": name, "role": role, **columns} for name, role in roles.items()]


SETS = {name: 0.5 for name in ("n_acc", "t_acc", "pr@f1", "pr@f1_many", "set_f1")}
SETS |= {f"{name}_ci": [0.4, 0.6] for name in SETS} | {"auroc": 0.7}


@pytest.mark.parametrize("columns", [{}, SETS, {"refined_by": {"mean": 0.25, "ci": [0.1, 0.4]}}])
@pytest.mark.parametrize("count", [1, 8, 20])
@pytest.mark.parametrize("width", [80, 100, 140, 300])
def test_a_table_fits_into_the_terminal_and_cuts_nothing(width, count, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    rows = rows_of(count, **columns)
    print_table(rows, "a title")
    table, _, note = capsys.readouterr().out.partition("no room for ")
    assert max(map(len, table.splitlines())) <= width and "…" not in table
    letters = "".join(line.split("  ")[0].strip() for line in table.splitlines())  # long names take several lines
    assert all(each["method"] in letters for each in rows)
    figure = "Pr@F1" if "set_f1" in rows[0] else "mean IoU"
    assert figure in table and ("0.500" if "set_f1" in rows[0] else "0.400") in table
    absent = note.partition(" in ")[0].split(", ") if note else []
    assert all(name in table or name in absent for name in ("mean IoU", "ms", "evals")) and (width < 300 or not note)


def test_intervals_are_beside_the_values_where_there_is_room(monkeypatch, capsys):
    for width, beside in ((120, True), (60, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table([one_row()], "a title")
        assert bool(re.search(r"0\.400 0\.\d{3}-0\.\d{3}", capsys.readouterr().out)) == beside


def test_columns_without_values_are_left_out(capsys):
    print_table([row("full", "floor", [0.1] * 8)], "a title")
    output = capsys.readouterr().out
    assert "failed" not in output and "evals" not in output and "no room" not in output
    print_table([row("full", "floor", [0.1] * 8, failures=1)], "a title")
    assert "failed" in capsys.readouterr().out


def test_without_boxes_the_table_counts(capsys):
    print_counts([row("mine", "method", [0.4] * 8, evaluations=1234.5)], "counts")
    line = next(line for line in capsys.readouterr().out.splitlines() if "mine" in line)
    assert line.split() == ["mine", "method", "8", "1,234.5", "1.5", "0"]


def test_differences_are_printed_by_kind(capsys):
    ious = {"a": np.array([0.2, 0.6]), "b": np.array([0.7, 0.8])}
    differences = Pairing(ious, ["size", "size"], [1, 2]).differences("a", "b")
    print_pairs([Pair("a", "b", IOU, {}, differences)], "A and B")
    first, second = (line for line in capsys.readouterr().out.splitlines() if "+0.350" in line)
    assert first.split()[:5] == ["b", "against", "a", "2", "+0.350"]
    assert second.split()[:3] == ["size", "2", "+0.350"]
