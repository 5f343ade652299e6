"""The grounder of vision-language models over a stub in place of transformers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vg_gym.baselines.foundation import vlm
from vg_gym.baselines.foundation.loading import Loaded
from vg_gym.baselines.foundation.vlm import VisionLanguageGrounder
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError
from vg_gym.types import Query


class Inputs(dict):
    def to(self, device, dtype):
        return self


class Processor:
    """Processor and tokenizer that pass texts through; ``answers`` are the decoded texts, in order."""

    chat_template = "template"

    def __init__(self, answers):
        self.answers, self.texts, self.pictures, self.arguments = list(answers), [], [], {}
        self.tokenizer = SimpleNamespace(batch_decode=self.decode, padding_side="right", get_vocab=dict)
        size = {"shortest_edge": 16, "longest_edge": 4096}
        self.image_processor = SimpleNamespace(size=size, patch_size=8)

    def __call__(self, images, text, **arguments):
        self.texts.append(text)
        self.pictures += [np.array(picture) for (picture,) in images]
        self.arguments = arguments
        return Inputs(input_ids=torch.zeros(len(text), 3), image_grid_thw=torch.tensor([[1, 5, 10]] * len(text)))

    def decode(self, written, skip_special_tokens):
        assert written.shape[1] == 2  # the question's three tokens are cut off
        return [self.answers.pop(0) for _ in written]

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        parts = [part.get("text", "<image>") for message in messages for part in message["content"]]
        return "|".join(parts)


class Network(torch.nn.Linear):
    """Network that writes two tokens."""

    def __init__(self, kind):
        super().__init__(1, 1)
        self.config = SimpleNamespace(model_type=kind, is_encoder_decoder=False)
        self.decoding = {}

    def generate(self, input_ids, image_grid_thw, **decoding):
        self.decoding = decoding
        return torch.zeros(len(input_ids), 5)


@pytest.fixture
def grounder(monkeypatch):
    """Function from answers to a grounder whose model gives them."""

    def make(answers=(), kind="qwen3_vl", **options):
        model = Loaded(Network(kind), Processor(answers), "stub@1", torch.device("cpu"), torch.float32)
        monkeypatch.setattr(vlm, "load", lambda *_, **__: model)
        return VisionLanguageGrounder("stub", **options)

    return make


def query(width=80, height=40, expression="the cup"):
    return Query(ArrayImage(np.zeros((height, width, 3), np.uint8)), expression, f"{width} {expression}")


@pytest.mark.parametrize(
    ("frame", "answer", "box"),
    [
        ("0-1000", '{"bbox_2d": [250, 500, 750, 1000]}', [20, 20, 60, 40]),
        ("pixels", "[20, 10, 60, 30]", [20, 10, 60, 30]),
        ("resized", "[20, 10, 60, 30]", [20, 10, 60, 30]),  # of 80 x 40 pixels, as ten patches by five
        ("0-1000-yx", '{"box_2d": [500, 250, 1000, 750]}', [20, 20, 60, 40]),
    ],
)
def test_boxes_are_read_in_their_frame(grounder, frame, answer, box):
    (prediction,) = grounder([answer], frame=frame).ground([query()])
    np.testing.assert_allclose(prediction.box, box, atol=1e-3)
    assert prediction.details["answer"] == answer and "failure" not in prediction.details


def test_boxes_of_a_resized_image_are_scaled_to_the_original(grounder):
    (prediction,) = grounder(["[20, 10, 60, 30]"], frame="resized").ground([query(160, 80)])
    np.testing.assert_allclose(prediction.box, [40, 20, 120, 60], atol=1e-3)


@pytest.mark.parametrize(
    ("answer", "why"), [("I see no cup", "no box in the answer"), ("[1200, 0, 1400, 90]", "no box inside the image")]
)
@pytest.mark.filterwarnings("ignore:.*frame")
def test_an_answer_without_a_box_is_a_failure(grounder, answer, why):
    (prediction,) = grounder([answer]).ground([query()])
    assert why in prediction.details["failure"] and answer[:9] in prediction.details["failure"]
    assert prediction.details["unanswered"] and prediction.box.tolist() == [0, 0, 80, 40]


def test_queries_are_answered_in_batches_and_in_order(grounder):
    model = grounder([f"[0, 0, {n}00, 1000]" for n in range(1, 6)], batch_size=2)
    queries = [query(expression=f"cup {n}") for n in range(5)]
    predictions = model.ground(queries)
    assert [round(float(p.box[2])) for p in predictions] == [8, 16, 24, 32, 40]
    assert [len(texts) for texts in model.model.processor.texts] == [2, 2, 1]
    assert all("cup 4" in text for text in model.model.processor.texts[2])
    assert model.model.processor.tokenizer.padding_side == "left"
    assert model.model.module.decoding == {"max_new_tokens": 128, "num_beams": 1, "do_sample": False}


def test_the_question_has_the_system_message_and_the_expression(grounder):
    def question(**options):
        model = grounder(["[0, 0, 9, 9]"], **options)
        model.ground([query()])
        return model.model.processor.texts[0][0]

    assert question(prompt="Find {}.", frame="0-1000", system="See.") == "See.|<image>|Find the cup."
    assert question(prompt="Find {}.", frame="0-1000") == "<image>|Find the cup."
    assert question(kind="paligemma") == "<image>detect the cup"


def test_an_initial_box_is_drawn_and_asked_about(grounder):
    model = grounder(["[0, 0, 500, 500]", "[0, 0, 250, 500]"], prompt="Find {}.", frame="0-1000")
    boxes = np.array([[10, 10, 30, 30], [40, 0, 80, 40]], np.float32)
    first, second = model.ground([query(), query(expression="the jug")], boxes)
    assert first.box.tolist() == [0, 0, 40, 20] and second.box.tolist() == [0, 0, 20, 20]
    processor = model.model.processor
    (texts,) = processor.texts
    assert all("red rectangle" in text for text in texts)
    assert texts[0].endswith("Find the cup.") and texts[1].endswith("Find the jug.")
    red = [(picture == (255, 0, 0)).all(axis=-1) for picture in processor.pictures]
    rows, columns = np.nonzero(red[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 10, 29) and not red[0][20, 20]
    assert red[1][0, 40] and red[1][39, 79] and not red[1][20, 60]


def test_the_prompt_about_a_drawn_box_is_an_option(grounder):
    model = grounder(["[0, 0, 500, 500]"], refine_prompt="Is the red box {}?")
    model.ground([query()], np.array([[10, 10, 30, 30]]))
    assert model.model.processor.texts == [["<image>|Is the red box the cup?"]]
    with pytest.raises(VGGymError, match="no {} where the expression goes"):
        grounder(refine_prompt="Is it right?")


def test_reasoning_that_the_prompt_opens_is_not_an_answer(grounder):
    answers = ["[0, 0, 10, 10]?</think>[0, 0, 500, 500]", "[0, 0, 10, 10]?"]
    read, cut = grounder(answers, prompt="{} <think>", frame="0-1000").ground([query(), query(81)])
    assert read.box.tolist() == [0, 0, 40, 20] and "no box" in cut.details["failure"]


def test_limits_of_pixels_reach_the_processor(grounder):
    model = grounder(["[0, 0, 500, 500]"], max_pixels=900)
    model.ground([query()])
    assert model.model.processor.arguments["size"] == {"shortest_edge": 16, "longest_edge": 900}
    processor = SimpleNamespace(image_processor=SimpleNamespace(size={"height": 8, "width": 8}))
    with pytest.raises(VGGymError, match="no limits of pixels; leave min_pixels"):
        vlm._pixel_limits(processor, 4, None)


def test_every_option_that_changes_answers_is_part_of_the_fingerprint(grounder):
    options = {
        "prompt": "the {}", "frame": "pixels", "system": "Look.", "max_new_tokens": 5, "num_beams": 2,
        "max_pixels": 999, "min_pixels": 9, "refine_prompt": "a better {}",
    }  # fmt: skip
    marks = [grounder(**{name: value}).fingerprint for name, value in options.items()]
    assert len({grounder().fingerprint, *marks}) == 9 and grounder().fingerprint == grounder().fingerprint


def test_errors_name_the_remedy(grounder, monkeypatch):
    with pytest.raises(VGGymError, match="stub is a new_vl, whose prompt and box frame are not known; set both"):
        grounder(kind="new_vl", prompt="Find {}.")
    with pytest.raises(VGGymError, match="no {} where the expression goes"):
        grounder(prompt="Find it.")
    with pytest.raises(VGGymError, match="0-100"):
        grounder(frame="0-100")
    with pytest.raises(VGGymError, match="does not refine given boxes"):
        grounder(kind="paligemma").ground([query()], np.zeros((1, 4)))
    monkeypatch.setattr(Processor, "chat_template", None)
    with pytest.raises(VGGymError, match="no chat template; use a checkpoint that was tuned on instructions"):
        grounder()
