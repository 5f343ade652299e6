"""What the page shows, without the page and without Gradio."""

import numpy as np
import pytest
from PIL import Image

from vg_gym import registry
from vg_gym.cli.listing import ready_grounders
from vg_gym.errors import VGGymError
from vg_gym.pictures.demo import SCENES, SIZE, answered, drawn_scene, own_picture, typed_score
from vg_gym.types import Prediction


class Mine:
    name = "mine"

    def ground(self, queries, initial_boxes=None):
        if "break" in queries[0].expression:
            raise RuntimeError("out of order")
        box = np.array([1, 2, 30, 40], np.float32)
        if "no object" in queries[0].expression:
            return [Prediction(score=0.1)]
        if "two objects" in queries[0].expression:
            return [Prediction(boxes=np.stack([box, box / 2]), scores=np.array([0.5, 0.4]))]
        details = {"trajectory": np.stack([box * 2, box]), "proposals": box[None], "heat_map": np.eye(4)}
        return [Prediction(box, 0.5, {**details, "failure": "a guess"})]


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setattr(
        registry, "GROUNDERS", {**registry.GROUNDERS, "mine": registry.GrounderSpec(f"{__name__}:Mine")}
    )
    return "mine"


def test_a_scene_knows_what_its_sentences_mean():
    scene = drawn_scene(7)
    assert len(scene.targets) == 4 and max(scene.shown().size) == SIZE
    sample = SCENES[28]
    np.testing.assert_array_equal(scene.targets[sample.query.expression], sample.box)
    with pytest.raises(VGGymError, match="no scene 500: they are numbered from 0 to 499"):
        drawn_scene(500)


def test_all_that_a_method_says_is_shown(mine):
    scene = drawn_scene(0)
    answer = answered(scene, next(iter(scene.targets)), mine)
    assert answer.steps == 1 and answer.message == "a guess"
    assert answer.numbers["box"] == "1.0 2.0 30.0 40.0 px" and answer.numbers["score"] == "0.500"
    assert {"IoU with the truth", "steps", "proposals", "time"} <= answer.numbers.keys()
    assert answer.drawn_proposals() is not None and answer.drawn_heat_map() is not None
    assert np.asarray(answer.drawn(0)).tolist() != np.asarray(answer.drawn(1)).tolist()
    other = answered(scene, "no sentence of this scene", mine)
    assert other.target is None and "IoU with the truth" not in other.numbers


def test_none_and_several_boxes_are_shown(mine):
    none, two = (answered(drawn_scene(0), text, mine) for text in ("no object", "two objects"))
    assert none.numbers["box"] == "nothing that fits" and none.drawn() is not None and none.steps == 0
    assert two.numbers["boxes"] == "1.0 2.0 30.0 40.0; 0.5 1.0 15.0 20.0 px" and two.drawn() is not None


def test_below_the_threshold_nothing_fits(mine):
    below, above = (answered(drawn_scene(0), "one object", mine, None, threshold) for threshold in (0.6, 0.4))
    assert below.numbers["box"] == "nothing that fits" and below.drawn(0) is not None
    assert above.numbers["box"] == "1.0 2.0 30.0 40.0 px"
    assert "gives no scores" in answered(drawn_scene(0), "a star", "full", None, 0.4).message


def test_a_typed_score_is_a_number_or_nothing():
    assert [typed_score(text) for text in ("", "  ", "0", " -0.5 ")] == [None, None, 0, -0.5]
    for text in ("half", "nan", "0,5"):
        with pytest.raises(VGGymError, match=f"'{text}' is not a score"):
            typed_score(text)


def test_a_built_in_method_finds_the_object():
    scene = drawn_scene(0)
    answer = answered(scene, next(iter(scene.targets)), "mdetr")
    assert float(answer.numbers["IoU with the truth"]) > 0.5 and not answer.message
    assert answer.drawn_proposals() is None and answer.drawn_heat_map() is None and answer.steps == 0


@pytest.mark.parametrize(
    ("expression", "method", "message"),
    [("break", "mine", "mine failed: RuntimeError: out of order"), ("  ", "mine", "expression is empty"),
     ("a star", "mdter", "did you mean 'mdetr'"), ("a star", "constant", "constant has no box")],
)  # fmt: skip
def test_what_goes_wrong_is_a_message(mine, expression, method, message):
    answer = answered(drawn_scene(0), expression, method)
    assert message in answer.message and answer.found is None and answer.drawn() is None
    assert answered(None, "a star", "mine").message.startswith("There is no picture yet")


def test_words_that_the_weights_do_not_know_are_told():
    assert "not the words: dog" in answered(drawn_scene(0), "the dog", "mdetr").message


def test_a_file_that_is_no_picture_is_named_without_its_folder(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(VGGymError, match="unsupported image broken.png") as raised:
        own_picture(tmp_path / "broken.png")
    assert str(tmp_path) not in str(raised.value)
    Image.new("RGB", (30, 20)).save(tmp_path / "own.png")
    own = own_picture(tmp_path / "own.png")
    assert own.image.size == (30, 20) and own.shown().size == (SIZE, 427) and not own.targets


def test_what_is_offered_needs_nothing_fetched():
    ready = ready_grounders()
    assert {"agent:refshapes", "mdetr", "clip-window", "full"} <= set(ready)
    assert not {"constant", "diffusion-vector", "dynamic-mdetr-clip", "grounding-dino", "owlv2-clip", "vlm"} & set(
        ready
    )
