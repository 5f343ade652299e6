"""Answers of every family on images of odd sizes, hostile answers, and SAM 3, LLMDet and Rex-Omni as themselves."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image

from experiments import tiny_models
from vg_gym import registry
from vg_gym.baselines.foundation import families, loading
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError
from vg_gym.frames import FRAMES, place
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.point_text import find_points
from vg_gym.types import Query, best_boxes

SIZES = [(333, 517), (640, 427), (41, 997)]
SEEN = {(333, 517): (336, 504), (640, 427): (644, 420), (41, 997): (56, 980)}
"""Size of an image -> size at which a Qwen2.5-VL sees it, multiples of 28."""
BOX = (0.25, 0.1, 0.75, 0.9)
"""Box that all answers mean, as shares of the sides."""
ANSWERS = {
    "qwen2_vl": ("<|box_start|>(250,100),(750,900)<|box_end|>", 0.001),
    "qwen3_vl": ('```json\n[{{"bbox_2d": [250, 100, 750, 900], "label": "it"}}]\n```', 0.001),
    "qwen3_5": ('[{{"bbox_2d": [250, 100, 750, 900]}}]', 0.001),
    "glm4v_moe": ("<|begin_of_box|>[[250,100,750,900]]<|end_of_box|>", 0.001),
    "glm46v": ("<think>Hm, [9, 9, 9, 9]</think>It is <|begin_of_box|>(250, 100, 750, 900)<|end_of_box|>.", 0.001),
    "internvl": ("<ref>it</ref><box>[[250, 100, 750, 900]]</box>", 0.001),
    "rex_omni": ("<|object_ref_start|>it<|object_ref_end|><|box_start|><250><100><749><899><|box_end|>", 0.001),
    "moondream1": ('{{"objects": [{{"x_min": 0.25, "y_min": 0.1, "x_max": 0.75, "y_max": 0.9}}]}}', 1e-6),
    "moondream3": ('{{"objects": [{{"x_min": 0.25, "y_min": 0.1, "x_max": 0.75, "y_max": 0.9}}]}}', 1e-6),
    "paligemma": ("<loc0102><loc0256><loc0922><loc0768> it", 0.001),
    "florence2": ("it<loc_250><loc_100><loc_749><loc_899>", 0.001),
    "qwen2_5_vl": ('[{{"bbox_2d": [{}, {}, {}, {}], "label": "it"}}]', None),
}
"""Family -> an answer of such a model, and its error in shares of the sides; None: half a pixel of the seen image."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    logging.getLogger("transformers").setLevel(logging.ERROR)
    t.utils.logging.disable_progress_bar()
    made = {}

    def folder(name):
        make = {**tiny_models.DETECTORS, **tiny_models.VLMS, "sam3": tiny_models.sam3}[name]
        return made.get(name) or made.setdefault(name, make(tmp_path_factory.mktemp(name)))

    return folder


def query(size=(333, 517), expression="the cup"):
    width, height = size
    return Query(ArrayImage(np.zeros((height, width, 3), np.uint8)), expression, f"{size}")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_means_its_box_on_an_image_of_any_size(name, size):
    text, error = ANSWERS[name]
    corners = [round(share * side) for share, side in zip(BOX, SEEN[size] * 2, strict=True)]
    (numbers,) = find_boxes(text.format(*corners), families.FAMILIES[name].frame)
    box = place(numbers, families.FAMILIES[name].frame, size, SEEN[size])
    tolerance = 0.5 / np.array(SEEN[size] * 2) if error is None else np.full(4, error)
    assert (np.abs(box / np.array(size * 2) - BOX) <= tolerance + 1e-6).all()


def test_the_table_is_whole():
    assert set(families.FAMILIES) == {*ANSWERS, "qwen3_vl_moe", "qwen3_5_moe", "glm4v", "molmo2"}
    for family in families.FAMILIES.values():
        assert family.frame in FRAMES and "{}" in family.prompt and family.licence and family.source


@pytest.mark.parametrize("size", SIZES)
def test_points_of_molmo_are_points(folders, size):
    grounder = registry.grounder(f"vlm:{folders('molmo2')}", device="cpu")
    text = '<points coords="1 1 250 900 2 750 100">the cup</points>'
    found = grounder.questions.read(query(size), text, None)
    np.testing.assert_allclose(found.details["point"], [0.25 * size[0], 0.9 * size[1]], rtol=1e-5)
    assert found.box is None and len(found.boxes) == 0 and "failure" not in found.details
    with pytest.raises(VGGymError, match="answers with points has no boxes to start from"):
        best_boxes([found], [query(size)])


def test_only_the_points_of_the_first_image_inside_it_are_read():
    assert find_points('<points coords="1 1 100 200\t2 1 300 400">x</points>') == [[100, 200]]
    assert find_points('<think><points coords="1 1 5 5">x</points></think><points coords="1 1 7 008"/>') == [[7, 8]]
    hostile = (
        "", "none", '<points coords="">', '<points coords="1 1 1200 3">', '<points coords="1 1 100">', "<points>",
        '<point x="10" y="20">', '<points coords="2 1 10 20">', '<points coords="1 a b c">', "[100, 200]",
    )  # fmt: skip
    assert [find_points(text) for text in hostile] == [[]] * len(hostile)


HOSTILE = {
    "none": "no box in the answer",
    "[]": "no box in the answer",
    '{"bbox_2d": []}': "no box in the answer",
    "There is no such object in the image.": "no box in the answer",
    '{"point_2d": [500, 500]}': "no box in the answer",
    "[1200, 1200, 1400, 1500]": "no box inside the image in the answer",
    "[300, 300, 300, 300]": "no box inside the image in the answer",
}
"""Answer -> why it has no box."""


@pytest.mark.filterwarnings("ignore:.*frame")
def test_hostile_answers_are_failures_or_their_boxes(folders):
    grounder = registry.grounder(f"vlm:{folders('glm4v_moe')}", device="cpu")
    for text, why in HOSTILE.items():
        found = grounder.questions.read(query(), text, None)
        assert why in found.details["failure"] and found.details["unanswered"], text
    swapped = grounder.questions.read(query(), "<|begin_of_box|>[[750, 900, 250, 100]]<|end_of_box|>", None)
    np.testing.assert_allclose(swapped.box, np.array(BOX) * [333, 517, 333, 517], rtol=1e-4)
    several = "[[0, 0, 500, 500], [500, 500, 1000, 1000], [0, 0, 500, 500], [2000, 2000, 3000, 3000]]"
    found = grounder.questions.read(query(), f"<|begin_of_box|>{several}<|end_of_box|>", None)
    np.testing.assert_allclose(found.boxes, [[0, 0, 166.5, 258.5], [166.5, 258.5, 333, 517]], rtol=1e-4)


def test_rex_omni_is_known_by_its_tokens_and_reads_no_polygon(folders):
    rex, qwen = (registry.grounder(f"vlm:{folders(name)}", device="cpu") for name in ("rex_omni", "qwen2_5_vl"))
    assert (rex.questions.frame, rex.system) == ("rex", "You are a helpful assistant")
    assert (qwen.questions.frame, qwen.system) == ("resized", "")
    assert "Detect the cup. Output the bounding box coordinates" in rex.questions.text("the cup")
    for text in ("<|box_start|>None<|box_end|>", "<1><2>", "<1><2><3><4><5><6><7><8>", "[250, 100, 750, 900]"):
        assert rex.questions.read(query(), text, None).details["unanswered"]
    two = "<|box_start|><0><0><999><999>, <1><2><333><444><|box_end|>"
    assert len(rex.questions.read(query(), two, None).boxes) == 2


def test_reasoning_is_switched_off_unless_asked_for(folders):
    name = f"vlm:{folders('glm4v_moe')}"
    brief, long = registry.grounder(name, device="cpu"), registry.grounder(name, thinking=True, device="cpu")
    assert brief.text("it").endswith("<think></think>") and not long.text("it").endswith("</think>")
    assert brief.fingerprint != long.fingerprint
    with pytest.raises(VGGymError, match="no switch for reasoning; leave thinking out"):
        registry.grounder(f"vlm:{folders('molmo2')}", thinking=True, device="cpu")


def test_code_that_comes_with_weights_is_not_run(monkeypatch):
    class Stub:
        __version__ = "5"
        AutoProcessor = None

        class AutoModelForImageTextToText:
            @staticmethod
            def from_pretrained(*_, **__):
                raise ValueError("Please pass the argument `trust_remote_code=True` to allow custom code to be run.")

    monkeypatch.setattr(loading, "transformers_package", lambda who: Stub)
    with pytest.raises(VGGymError, match="does not load 'vikhyatk/moondream2', whose code .* --predictions FILE"):
        registry.grounder("vlm:vikhyatk/moondream2", device="cpu")
    with pytest.raises(VGGymError, match="sam3 needs Sam3Model, which transformers 5 lacks; install a newer one"):
        registry.grounder("sam3", device="cpu")


def test_sam3_answers_as_in_transformers(folders):
    folder = folders("sam3")
    grounder = registry.grounder("sam3", weights=folder, device="cpu")
    model, processor = t.Sam3Model.from_pretrained(folder).eval(), t.Sam3Processor.from_pretrained(folder)
    image = np.random.default_rng(0).integers(0, 255, (83, 61, 3), dtype=np.uint8)
    (found,) = grounder.ground([Query(ArrayImage(image), "the red cup left of the dog", "a")])
    inputs = processor(images=[Image.fromarray(image)], text=["red cup"], return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (own,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[(83, 61)])
    best = own["scores"].argmax()
    assert found.score == pytest.approx(float(own["scores"][best]), abs=1e-5)
    np.testing.assert_allclose(found.box, own["boxes"][best].clamp(min=0), atol=1e-3)
    assert found.details["labels"][0] == "red cup" and "@sha256:" in found.details["source"]


def test_options_of_sam3(folders):
    folder = folders("sam3")
    whole = registry.grounder("sam3", weights=folder, words="expression", min_score=1.0, device="cpu")
    assert whole.text("the red cup left of the dog") == "the red cup left of the dog"
    with pytest.warns(UserWarning, match="sam3 reads 32 tokens; longer phrases are cut"):
        (found,) = whole.ground([query(expression="the red cup that stands left of the dog")])
    assert "no instance of 'the red cup that" in found.details["failure"] and found.details["unanswered"]
    with pytest.raises(VGGymError, match="unknown words of SAM 3 'noun'"):
        registry.grounder("sam3", weights=folder, words="noun")


def test_the_page_of_methods_has_the_table():
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    rows = {row[0]: row[2:] for row in cells if len(row) == 5}
    for family in families.FAMILIES.values():
        answers = "[points](evaluation.md#points)" if family.points else "boxes"
        assert rows[family.title] == [answers, f"`{family.frame}`", family.licence], family.title
