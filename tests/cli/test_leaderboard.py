import pytest

from tests.evaluation.runs import write_run
from vg_gym.cli.entry import main


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


def test_leaderboard_prints_markdown_and_writes_a_page(tmp_path, samples, capsys):
    write_run(tmp_path / "a", samples, x=[0.4] * 8)
    write_run(tmp_path / "b", samples, x=[0.9] * 8)
    main(["leaderboard", str(tmp_path)])
    said = capsys.readouterr().out
    assert said.startswith("refshapes/test, 8 expressions, 2 runs: ") and "\n| 1 | x | b | 0.900" in said
    assert "<td>x</td>" in (tmp_path / "leaderboard.html").read_text()
    main(["leaderboard", str(tmp_path / "a"), "--by", "acc", "--out", str(tmp_path / "other.html")])
    assert "1 run: " in capsys.readouterr().out and "ranked by\nAcc@0.5" in (tmp_path / "other.html").read_text()


def test_a_run_on_other_queries_is_one_line(tmp_path, samples, capsys):
    for name in "ab":
        write_run(tmp_path / name, samples, x=[0.4] * 8)
    wrong = write_run(tmp_path / "c", samples[:4], x=[0.9] * 4)
    with pytest.raises(SystemExit) as ended:
        main(["leaderboard", str(tmp_path)])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and f"{wrong} has content hash" in said
    assert not (tmp_path / "leaderboard.html").exists()
