import re

import numpy as np
import pytest
from PIL import Image

from vg_gym.evaluation import metrics
from vg_gym.evaluation.report import COLORS, GALLERY, print_table, write_report
from vg_gym.evaluation.scatter import scatter


def row(method, role, ious, **extra):
    ious = np.array(ious)
    empty = dict.fromkeys(("cosine", "grounding_accuracy", "evaluations", "centre_slope", "prior_gap", "planted_prior"))
    return {
        "method": method, "role": role, **metrics.summary(ious, range(len(ious)), gious=ious), **empty,
        "ms_per_query": 1.5, "failures": 0, "by_kind": {}, "by_cell": [None] * 9, "ious": ious.tolist(), **extra,
    }  # fmt: skip


@pytest.fixture
def rows():
    gain = {"mean": 0.25, "ci": [0.1, 0.4]}
    return [
        row("full", "floor", [0.1, 0.1]),
        row("<b>mine</b>", "method", [0.2, 0.6]),
        row(
            "mine + agent",
            "refined",
            [0.5, 0.8],
            refines="<b>mine</b>",
            refined_by=gain,
            **{"refined_by_acc@0.5": gain},
        ),
    ]


META = {"dataset": "refshapes", "split": "test", "command": "python evaluate.py", "date": "", "versions": {}}


def test_the_page_has_all_rows_and_needs_nothing_else(rows, shapes, tmp_path):
    samples, asked = [shapes[i] for i in range(8)], []

    def predicted_box(method, index):
        asked.append((method, index))
        return None if index == 0 else [1.0, 1.0, 50.0, 60.0]

    write_report(tmp_path, rows, samples, predicted_box, META)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;b&gt;mine&lt;/b&gt;" in page and "<b>mine" not in page
    assert page.count("<figure>") == len(samples) <= GALLERY and samples[3].query.expression in page
    assert set(asked) == {(m, i) for m in ("<b>mine</b>", "mine + agent") for i in range(8)}  # floors are not drawn
    assert page.count("<polyline") == 2 and f'stroke="{COLORS[1]}"' in page
    assert "Before and after refinement" in page and "+0.250" in page
    assert not re.search(r"(src|href)=.http", page)
    with Image.open(tmp_path / "refined.png") as drawn:
        assert drawn.size == scatter(rows).size


def test_without_refined_rows_there_is_no_scatter(rows, shapes, tmp_path):
    write_report(tmp_path, rows[:1], [shapes[0]], lambda method, index: None, META)
    assert not (tmp_path / "refined.png").exists()
    page = (tmp_path / "report.html").read_text()
    assert "Before and after" not in page and page.count("<polyline") == 1  # floors alone are drawn
    with pytest.raises(ValueError, match="no refined row"):
        scatter(rows[:1])


def test_the_table_has_a_line_for_each_row(rows, capsys):
    print_table(rows, "a title")
    said = capsys.readouterr().out
    assert "a title" in said and "<b>mine</b>" in said and "0.400" in said
    assert "+0.250" in said and "+0.100 to +0.400" in said
    print_table(rows[:2], "plain")
    assert "refined by" not in capsys.readouterr().out
