import pytest
from PIL import Image

from tests.evaluation.runs import write_run
from vg_gym.cli.entry import main


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


def test_compare_prints_and_draws(tmp_path, samples, capsys):
    first = write_run(tmp_path / "a", samples, x=[0.4] * 8)
    second = write_run(tmp_path / "b", samples, x=[0.9] * 8)
    main(["compare", str(first), str(second), "--out", str(tmp_path / "drawn.png")])
    said = capsys.readouterr().out
    assert "refshapes/test, 8 expressions" in said and "too few images" in said and "relation" in said
    assert "x: mean IoU 0.400 (A), 0.900 (B); Acc@0.5 0.000 (A), 1.000 (B)" in said
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.width > 1000


def test_two_methods_of_one_run(tmp_path, samples, capsys):
    run = write_run(tmp_path / "a", samples, x=[0.4] * 8, y=[0.1] * 8)
    main(["compare", str(run.parent), str(run), "--a", "x", "--b", "y", "--out", str(tmp_path / "drawn.png")])
    assert "y against x: mean IoU 0.400 (A), 0.100 (B)" in capsys.readouterr().out


def test_other_queries_are_one_line(tmp_path, samples, capsys):
    first = write_run(tmp_path / "a", samples, x=[0.4] * 8)
    second = write_run(tmp_path / "b", samples[:4], limit=4, x=[0.9] * 4)
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(first), str(second), "--out", str(tmp_path / "drawn.png")])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and not (tmp_path / "drawn.png").exists()
    assert f"{second} has limit 4 where {first} has none, content hash" in said
