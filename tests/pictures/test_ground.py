"""From a picture and a sentence to a box, as a person types it."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

import vg_gym
from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli.entry import main
from vg_gym.data.drawing import BOX
from vg_gym.errors import VGGymError
from vg_gym.pictures.ground import DRAWN, PHOTOGRAPHS, chosen, unknown_words
from vg_gym.types import Prediction

METHOD = {"method": "clip-window", "clip": "refshapes"}


@pytest.fixture
def pictures(shapes, tmp_path):
    """Two drawn pictures and a file that is none."""
    images = {sample.query.image.key: sample.query.image.array() for sample in shapes}
    for number, pixels in enumerate(images.values()):
        Image.fromarray(pixels).save(tmp_path / f"scene{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    return tmp_path


def test_a_path_an_image_and_an_array_give_the_same_box(shapes, pictures):
    sample = shapes[0]
    path = pictures / "scene0.png"
    with Image.open(path) as opened:
        sources = (path, str(path), opened, sample.query.image.array())
        found = [vg_gym.ground(source, sample.query.expression, **METHOD) for source in sources]
    assert len({tuple(f.box.tolist()) for f in found}) == 1 and found[0].score == found[3].score
    assert box_ops.iou(found[0].box, sample.box) > 0.3 and found[0].box.dtype == np.float32
    drawn = found[0].draw()
    assert drawn.size[0] == 512 and np.asarray(drawn).std() > 10


def test_many_of_either_kind(shapes, pictures):
    path, texts = pictures / "scene0.png", ["a star", "a heart"]
    several = vg_gym.ground(path, texts, **METHOD)
    assert [f.expression for f in several] == texts
    assert len(vg_gym.ground([path, pictures / "scene1.png"], "the star", **METHOD)) == 2
    assert isinstance(vg_gym.ground([path], "the star", **METHOD), list)
    with pytest.raises(VGGymError, match="2 pictures and 3 expressions"):
        vg_gym.ground([path, path], ["a", "b", "c"], **METHOD)


def test_the_method_follows_from_the_words():
    assert chosen(None, None, ["the small star"]) == (DRAWN[0], "")
    assert chosen(None, None, ["the small star", "a dog"]) == PHOTOGRAPHS
    assert chosen("ssd-clip", None, ["the small star"]) == ("ssd-clip", DRAWN[1])
    assert chosen("mdetr", None, ["a dog"]) == ("mdetr", "")
    assert unknown_words("The dog, left of a Star") == ["dog"]


def test_words_that_drawn_shapes_know_nothing_of_are_named(pictures):
    with pytest.warns(UserWarning, match="not the words: dog, pizza"):
        vg_gym.ground(pictures / "scene0.png", "dog left of pizza", **METHOD)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vg_gym.ground(pictures / "scene0.png", "the star", **METHOD)


@pytest.mark.parametrize(
    ("image", "text", "options", "message"),
    [
        ("none.png", "a star", {}, "no such file: .*none.png"),
        ("broken.jpg", "a star", {}, "broken.jpg"),
        ("broken.jpg", "a star", {"method": "ssd-clip", "weights": "missing.pt"}, "broken.jpg"),
        ("scene0.png", "  ", {}, "expression is empty"),
        ("scene0.png", "a star", {"method": "mdter"}, "did you mean 'mdetr'"),
        (3, "a star", {}, "not int"),
        (np.zeros((4, 4)), "a star", {}, "uint8 array"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(pictures, image, text, options, message):
    source = pictures / image if isinstance(image, str) else image
    with pytest.raises(VGGymError, match=message):
        vg_gym.ground(source, text, **{**METHOD, **options})


def test_one_broken_picture_does_not_stop_the_rest(pictures, capsys):
    command = ["ground", str(pictures), "the star", "--method", "clip-window", "--json", "--out", str(pictures / "out")]
    with pytest.raises(SystemExit) as ended:
        main(command)
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert ended.value.code == 2 and "broken.jpg" in said.err and "1 of 3 pictures" in said.err
    assert [row["image"][-10:] for row in rows] == ["scene0.png", "scene1.png"]
    assert all(len(row["box"]) == 4 and row["method"] == "clip-window" for row in rows)
    assert sorted(path.name for path in (pictures / "out").iterdir()) == ["scene0.png", "scene1.png"]


def test_one_picture_is_drawn_to_a_file(pictures, capsys):
    out = pictures / "boxed.jpg"
    main(["ground", str(pictures / "scene0.png"), "the star", "--method", "clip-window", "--out", str(out)])
    with Image.open(out) as drawn:
        assert drawn.format == "JPEG"
    said = capsys.readouterr()
    assert (
        said.out.startswith(str(pictures / "scene0.png"))
        and "answered by clip-window" in said.err
        and f"drawn in {out}" in said.err
    )
    with pytest.raises(SystemExit):
        main(["ground", str(pictures / "nowhere"), "the star"])
    assert "no such file or folder" in capsys.readouterr().err
    (pictures / "empty").mkdir()
    with pytest.raises(SystemExit):
        main(["ground", str(pictures / "empty"), "the star"])
    assert "no picture in" in capsys.readouterr().err


class Several:
    """Grounder that finds as many boxes as the expression has words, with falling scores."""

    name = "several"

    def ground(self, queries, initial_boxes=None):
        return [self._answer(len(query.expression.split())) for query in queries]

    def _answer(self, count):
        if count > 3:
            return Prediction(score=0.05)
        boxes = np.array([[10.0 * i, 5, 10 * i + 8, 25] for i in range(count)])
        return Prediction(boxes=boxes, scores=np.linspace(0.9, 0.3, count))


@pytest.fixture
def several(monkeypatch):
    monkeypatch.setitem(registry.GROUNDERS, "several", registry.GrounderSpec(f"{__name__}:Several", any_words=True))
    return "several"


def test_none_or_several_boxes(several, pictures, capsys):
    path = pictures / "scene0.png"
    answers = vg_gym.ground(path, ["both stars", "none of all these stars"], several)
    assert answers[0].boxes.shape == (2, 4) and answers[0].scores.tolist() == [0.9, 0.3]
    assert answers[0].box.tolist() == answers[0].boxes[0].tolist()
    assert answers[1].box is None and answers[1].boxes.shape == (0, 4) and answers[1].score == 0.05
    one = vg_gym.ground(path, "both stars", several, nothing_below=0.5)
    assert one.boxes.tolist() == answers[0].boxes[:1].tolist() and one.scores.tolist() == [0.9]
    none = vg_gym.ground(path, "both stars", several, nothing_below=0.95)
    assert none.box is None and none.score == 0.9
    yellow = [int((np.asarray(found.draw()) == BOX).all(-1).sum()) for found in (none, one, answers[0])]
    assert yellow[0] == 0 < yellow[1] < yellow[2]
    with pytest.raises(VGGymError, match="center gives no scores, so nothing_below=0.5 has no meaning"):
        vg_gym.ground(path, "the star", "center", nothing_below=0.5)
    main(["ground", str(path), "both stars", "--method", several])
    main(["ground", str(path), "both stars", "--method", several, "--nothing-below", "0.95"])
    main(["ground", str(path), "both stars", "--method", several, "--nothing-below", "0.95", "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"{path}  0.0 5.0 8.0 25.0  score 0.900", f"{path}  10.0 5.0 18.0 25.0  score 0.300",
                         f"{path}  nothing that fits  score 0.900"]  # fmt: skip
    assert json.loads(lines[3])["box"] is None and json.loads(lines[3])["boxes"] == []
