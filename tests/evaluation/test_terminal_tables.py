import numpy as np

from tests.evaluation.rows import row
from vg_gym.evaluation.paired import Pair, Pairing
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


def test_without_boxes_the_table_counts(capsys):
    print_counts([row("mine", "method", [0.4] * 8, evaluations=1234.5)], "counts")
    line = next(line for line in capsys.readouterr().out.splitlines() if "mine" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["mine", "method", "8", "1,234.5", "1.5", "0"]


def test_differences_are_printed_by_kind(capsys):
    ious = {"a": np.array([0.2, 0.6]), "b": np.array([0.7, 0.8])}
    differences = Pairing(ious, ["size", "size"], [1, 2]).differences("a", "b")
    print_pairs([Pair("a", "b", {}, differences)], "A and B")
    first, second = (line for line in capsys.readouterr().out.splitlines() if "too few images" in line)
    assert [cell.strip() for cell in first.split("│")[1:5]] == ["b against a", "all", "2", "+0.350"]
    assert [cell.strip() for cell in second.split("│")[1:5]] == ["", "size", "2", "+0.350"]
