import re
import shutil

import pytest

from tests.evaluation.runs import change, write_run
from vg_gym.errors import VGGymError
from vg_gym.evaluation.report.leaderboard import markdown, ranked, read_folder, write_leaderboard


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


@pytest.fixture
def folder(tmp_path, samples):
    write_run(tmp_path / "first", samples, weak=[0.2] * 8, strong=[0.6] * 8)
    write_run(tmp_path / "second" / "test", samples, strong=[0.7] * 8, same=[0.6] * 8, under=[0.05] * 8)
    return tmp_path


def test_the_best_comes_first_and_floors_have_no_rank(folder):
    entries = ranked(read_folder(folder), folder)
    assert [(e.rank, e.row["method"], e.run) for e in entries] == [
        (1, "strong", "second/test"), (2, "strong", "first"), (2, "same", "second/test"), (4, "weak", "first"),
        (None, "full", "first"), (5, "under", "second/test"),
    ]  # fmt: skip


def test_the_order_may_be_of_accuracy(folder, samples):
    write_run(folder / "third", samples, often=[0.5] * 8, tight=[0.95] * 5 + [0.1] * 3)
    by_iou, by_acc = (ranked(read_folder(folder), folder, by) for by in ("mean-iou", "acc"))
    place = [[e.row["method"] for e in entries].index("tight") for entries in (by_iou, by_acc)]
    assert place[0] < place[1]


def test_files_may_be_named(folder, samples):
    shutil.move(write_run(folder / "x", samples, named=[0.9] * 8), folder / "mine.results.json")
    assert ranked(read_folder(folder), folder)[0].run == "mine"


def test_others_are_refused(folder, samples, tmp_path):
    wrong = write_run(folder / "wrong", samples[:4], limit=4, weak=[0.2] * 4)
    with pytest.raises(VGGymError, match=f"{wrong} has limit 4 where 2 others have none"):
        read_folder(folder)
    (folder / "empty").mkdir()
    with pytest.raises(VGGymError, match="contains no results.json"):
        read_folder(folder / "empty")
    with pytest.raises(VGGymError, match="is not a folder"):
        read_folder(folder / "nowhere")


def test_the_table_is_markdown(folder):
    lines = markdown(ranked(read_folder(folder), folder)).splitlines()
    assert lines[0].startswith("| # | method | run | mean IoU | Acc@0.5 | Acc@0.75 | attribute | location |")
    assert lines[2].startswith(
        "| 1 | strong | second/test | 0.700 (too few images) | 1.000 (too few images) | 0.000 | 1.000 |"
    )
    assert any("| full (floor) |" in line for line in lines) and len({line.count("|") for line in lines}) == 1


HOSTILE = "a|b`c<script>document.title = 'owned'</script>\x1b[2J"


def test_hostile_names_do_nothing(folder):
    change(folder / "first" / "results.json", lambda content: content["rows"][1].update(method=HOSTILE))
    results = read_folder(folder)
    entries = ranked(results, folder)
    [line] = [line for line in markdown(entries).splitlines() if "owned" in line]
    assert r"a\|b'c&lt;script&gt;" in line and "\x1b" not in line
    write_leaderboard(folder / "page.html", entries, results, "mean-iou")
    page = (folder / "page.html").read_text()
    assert "&lt;script&gt;document.title" in page and "<script>document.title" not in page
    assert page.count("<tr class=") == 6 and 'name="viewport"' in page and not re.search("(src|href)=.http", page)
