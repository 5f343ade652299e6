"""No command writes over a file that a command of vg_gym did not write."""

import json

import pytest
from PIL import Image

from tests.evaluation.runs import write_run
from vg_gym.cli.entry import main
from vg_gym.storage.run_folder import claimed


def refused(capsys, *words):
    """The line of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and said[-1].startswith("vg-gym: error: ")
    return said[-1]


@pytest.fixture
def scenes(shapes, tmp_path):
    """Two pictures of one name in two folders."""
    places = [tmp_path / folder / "1.png" for folder in "ab"]
    for place, number in zip(places, (0, 7), strict=True):
        place.parent.mkdir()
        Image.fromarray(shapes[number].query.image.array()).save(place)
    return places


EVALUATE = ("evaluate", "--methods", "center", "--dataset", "refshapes", "--limit", 2, "--clip", "none", "--out")


@pytest.mark.parametrize(
    "name", ["results.json", "predictions.jsonl", "queries.jsonl", "settings.json", "report.html", "refined.png"]
)
@pytest.mark.parametrize("more", [(), ("--fresh",)])
def test_an_evaluation_leaves_other_folders_alone(tmp_path, capsys, name, more):
    (tmp_path / name).write_text('{"mine": 1}\n')
    assert f"{tmp_path} holds {name}, which this command did not write" in refused(capsys, *EVALUATE, tmp_path, *more)
    assert [file.name for file in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == '{"mine": 1}\n'


def test_an_evaluation_goes_on_in_its_own_folder_beside_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        main([str(word) for word in (*EVALUATE, tmp_path)])
    assert (tmp_path / "notes.txt").read_text() == "mine" and (tmp_path / "results.json").is_file()


def test_recorded_detections_leave_other_results_alone(tmp_path, capsys):
    (tmp_path / "results.json").write_text("[1]")
    assert "results.json" in refused(capsys, "evaluate", "--recorded", tmp_path / "x.json", "--out", tmp_path)
    assert (tmp_path / "results.json").read_text() == "[1]"


@pytest.mark.parametrize("name", ["box.png", "box.jpg", "box.webp"])
def test_ground_draws_over_its_own_pictures_alone(scenes, tmp_path, capsys, name):
    out = tmp_path / name
    words = ["ground", str(scenes[0]), "the circle", "--method", "center", "--out", str(out)]
    for _ in range(2):
        main(words)
    with Image.open(out) as drawn:
        assert drawn.size >= (128, 128)
    out.write_text("mine")
    assert f"{out} exists, and this command did not write it" in refused(capsys, *words)
    assert out.read_text() == "mine"


def test_ground_draws_into_a_folder_under_names_that_differ(scenes, tmp_path, capsys):
    out = tmp_path / "out"
    main(["ground", *map(str, scenes), "the circle", "--method", "center", "--out", str(out)])
    assert sorted(file.name for file in out.iterdir()) == ["a-1.png.png", "b-1.png.png"]


def test_ground_does_not_draw_over_the_pictures_that_it_reads(scenes, tmp_path, capsys):
    scenes[1].rename(tmp_path / "a" / "2.png")
    before = {file: file.read_bytes() for file in (tmp_path / "a").iterdir()}
    assert "did not write it" in refused(
        capsys, "ground", tmp_path / "a", "the circle", "--method", "center", "--out", tmp_path / "a"
    )
    assert {file: file.read_bytes() for file in (tmp_path / "a").iterdir()} == before


def test_compare_and_leaderboard_write_over_their_own_alone(tmp_path, shapes, capsys):
    samples = [shapes[i] for i in range(4)]
    runs = [write_run(tmp_path / name, samples, x=[0.4] * 4) for name in "ab"]
    for words, name in (
        (["compare", *runs], "compare.png"),
        (["leaderboard", tmp_path], "board.html"),
    ):
        out = tmp_path / name
        for _ in range(2):
            main([str(word) for word in (*words, "--out", out)])
        out.write_text("mine")
        assert "did not write it" in refused(capsys, *words, "--out", out)
        assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["images.jsonl", "queries.npy", "manifest.txt", "notes.txt"])
def test_features_leave_other_folders_alone(tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    words = ("features", "--dataset", "refshapes", "--splits", "test", "--limit", 1, "--out", tmp_path)
    assert f"not a feature store, and not empty: {name}" in refused(capsys, *words)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("choice", [{}, {"fresh": True}, {"resume": True}])
def test_a_training_leaves_the_config_of_something_else_alone(tmp_path, choice):
    (tmp_path / "config.yaml").write_text("name: mine\n")
    (tmp_path / "model").mkdir()
    with pytest.raises(Exception, match=r"config.yaml is not of a training of vg_gym"):
        with claimed(tmp_path, **{"resume": False, "fresh": False} | choice):
            pass
    assert json.dumps(sorted(file.name for file in tmp_path.iterdir())) == '["config.yaml", "model"]'
