"""Tiny random models of the real classes, saved and read back, against a direct use of transformers."""

import json
import logging

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image

from experiments import tiny_models
from vg_gym import registry
from vg_gym.baselines.detectors.base import coco_names
from vg_gym.boxes import is_valid
from vg_gym.cli.entry import main
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError
from vg_gym.evaluation.comparison import Comparison
from vg_gym.types import Proposer, Query


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)
    t.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Name -> folder of a tiny model, made when first asked for."""
    made = {}

    def folder(name):
        if name not in made:
            make = {**tiny_models.DETECTORS, **tiny_models.VLMS, "sam3": tiny_models.sam3}[name]
            made[name] = make(tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(scope="module")
def odd():
    """Three queries on images of odd sizes."""
    rng = np.random.default_rng(0)
    texts = ("the red cup", "a man. on the left", "dog")
    sizes = ((61, 83), (97, 40), (50, 50))
    images = [ArrayImage(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    return [Query(image, text, f"odd/{i}") for i, (image, text) in enumerate(zip(images, texts, strict=True))]


@pytest.mark.parametrize("name", tiny_models.DETECTORS)
def test_boxes_are_those_of_transformers(name, folders, odd):
    """One image at a time, all boxes, and transformers' own post-processing."""
    folder = folders(name)
    model = t.AutoModelForZeroShotObjectDetection.from_pretrained(folder).eval()
    processor = t.AutoProcessor.from_pretrained(folder)
    grounder = registry.grounder(name, weights=folder, batch_size=1, device="cpu")
    for query, found in zip(odd, grounder.ground(odd), strict=True):
        text = query.expression if name == "owlv2" else f"{query.expression}."
        more = {} if name == "owlv2" else {"text_threshold": 0.25}
        inputs = processor(images=[query.image.array()], text=[[text]] if not more else [text], return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs)
        (own,) = processor.post_process_grounded_object_detection(
            outputs, threshold=0.0, target_sizes=[query.image.size[::-1]], **more
        )
        width, height = query.image.size
        inside = own["boxes"].clip(torch.zeros(4), torch.tensor([width, height, width, height]))
        wide = (inside[:, 2:] - inside[:, :2] >= 1).all(1)
        order = own["scores"][wide].argsort(descending=True, stable=True)
        boxes, scores = inside[wide][order], own["scores"][wide][order]
        assert len(scores) and found.score == pytest.approx(float(scores[0]), abs=1e-5)
        count = len(found.details["proposals"])
        np.testing.assert_allclose(found.details["scores"], scores[:count], atol=1e-5)
        np.testing.assert_allclose(found.box, boxes[0], atol=1e-3)
        assert is_valid(found.details["proposals"], query.image.size).all()


@pytest.mark.parametrize("name", tiny_models.DETECTORS)
@pytest.mark.parametrize("height", [1, 3, 4])
def test_rows_are_never_taken_for_channels(name, height, folders):
    image = np.random.default_rng(0).integers(0, 255, (height, 40, 3), dtype=np.uint8)
    grounder = registry.grounder(name, weights=folders(name), device="cpu")
    seen = grounder._inputs([image], [["cat"]])["pixel_values"]
    processor = t.AutoProcessor.from_pretrained(folders(name))
    wanted = processor.image_processor(images=[image], input_data_format="channels_last", return_tensors="pt")
    torch.testing.assert_close(seen, wanted["pixel_values"], rtol=0, atol=0)


@pytest.mark.parametrize("name", tiny_models.DETECTORS)
def test_a_detector_is_a_proposer_too(name, folders, odd):
    proposer = registry.proposer(name, weights=folders(name), classes="cat,dog", max_boxes=4, device="cpu")
    found = proposer.propose([query.image.array() for query in odd])
    assert isinstance(proposer, Proposer) and len(found) == 3
    assert all(0 < len(p) <= 4 and (np.diff(p.scores) <= 0).all() for p in found)
    if name == "owlv2":
        assert {label for p in found for label in p.labels} <= {"cat", "dog"}
    other = registry.proposer(name, weights=folders(name), classes=["bird"], device="cpu")
    assert other.fingerprint != proposer.fingerprint


def test_proposals_default_to_coco_and_feed_a_pipeline(folders, shapes):
    assert len(coco_names()) == 80 and coco_names()[0] == "person"
    pipeline = registry.grounder("owlv2-clip", weights=folders("owlv2"), min_confidence=0.0, device="cpu")
    (found,) = pipeline.ground([shapes[0].query])
    assert set(found.details["labels"]) <= set(coco_names())


def test_a_confidence_that_no_box_has_is_a_failure_and_a_cut_text_is_said(folders, odd):
    grounder = registry.grounder("owlv2", weights=folders("owlv2"), min_score=1.0, device="cpu")
    assert grounder.ground(odd[:1])[0].details["failure"] == "owlv2: no box"
    long = Query(odd[0].image, "the cup that stands left of the other cup", "long")
    with pytest.warns(UserWarning, match="owlv2 reads 32 tokens; longer texts are cut, e.g. 'the cup that"):
        grounder.ground([long])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.parametrize("family", tiny_models.VLMS)
def test_a_vlm_writes_what_it_writes_in_transformers(family, folders, odd):
    """One image at a time with a direct use of the classes; ours in a batch that is padded."""
    folder = folders(family)
    grounder = registry.grounder(f"vlm:{folder}", max_new_tokens=10, device="cpu")
    model = t.AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = t.AutoProcessor.from_pretrained(folder)
    questions = [grounder.questions.text(q.expression) for q in odd]
    answers, seen = grounder.answer([q.image.array() for q in odd], questions)
    for query, answer, size in zip(odd, answers, seen, strict=True):
        text = grounder.questions.prompt.replace("{}", query.expression)
        if grounder.chat:
            messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]
            if grounder.system:
                messages.insert(0, {"role": "system", "content": [{"type": "text", "text": grounder.system}]})
            switch = {"enable_thinking": False} if "enable_thinking" in processor.chat_template else {}
            text = processor.apply_chat_template(messages, add_generation_prompt=True, **switch)
        inputs = processor(images=[Image.fromarray(query.image.array())], text=[text], return_tensors="pt")
        inputs.pop("labels", None)
        written = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        if family != "florence2":
            written = written[:, inputs["input_ids"].shape[1] :]
        special = family in ("florence2", "paligemma", "rex_omni")
        own = processor.tokenizer.batch_decode(written, skip_special_tokens=not special)[0]
        for word in ("<s>", "</s>", "<pad>", "<bos>", "<eos>", "<|im_end|>"):
            own = own.replace(word, "")
        assert answer == own.strip()
        if family.startswith(("qwen", "glm", "rex")):
            _, rows, columns = inputs["image_grid_thw"][0].tolist()
            side = processor.image_processor.patch_size
            assert size == (columns * side, rows * side)


def test_florence_boxes_are_those_of_its_processor(folders, odd):
    grounder = registry.grounder("florence-2", weights=folders("florence2"), device="cpu")
    processor = t.AutoProcessor.from_pretrained(folders("florence2"))
    text = "the cup<loc_13><loc_40><loc_310><loc_500><loc_1><loc_2><loc_9><loc_9>"
    for query in odd:
        task = "<CAPTION_TO_PHRASE_GROUNDING>"
        own = processor.post_process_generation(text=text, task=task, image_size=query.image.size)[task]["bboxes"][0]
        assert (
            np.trunc(grounder.questions.read(query, text, None).box).tolist() == own
        )  # theirs are cut to whole pixels


SCRIPTED = {
    "qwen2_5_vl": '```json\n[{"bbox_2d": [42, 28, 84, 112], "label": "the red cup"}]\n```',
    "qwen3_vl": '```json\n[{"bbox_2d": [500, 250, 1000, 1000], "label": "the red cup"}]\n```',
    "qwen3_5": '<think>\n\n</think>\n\n```json\n[{"bbox_2d": [500, 250, 1000, 1000], "label": "the red cup"}]\n```',
    "glm4v_moe": "It is on the right: <|begin_of_box|>[[500,250,1000,1000]]<|end_of_box|>",
    "glm46v": "<think>[1, 2, 3, 4]?</think><|begin_of_box|><500, 250, 1000, 1000><|end_of_box|>",
    "internvl": "<ref>the red cup</ref><box>[[500, 250, 1000, 1000]]</box>",
    "rex_omni": "<|object_ref_start|>the red cup<|object_ref_end|><|box_start|><500><250><999><999><|box_end|>",
    "paligemma": "<loc0256><loc0512><loc1023><loc1023> the red cup",
    "florence2": "the red cup<loc_500><loc_250><loc_999><loc_999>",
}
"""Family -> what such models write for the lower right of an image that they see at 84 x 112."""


@pytest.mark.parametrize("family", SCRIPTED)
def test_scripted_answers_mean_their_boxes(family, folders, odd):
    grounder = registry.grounder(f"vlm:{folders(family)}", device="cpu")
    query, (width, height) = odd[0], odd[0].image.size
    found = grounder.questions.read(query, SCRIPTED[family], (84, 112))
    np.testing.assert_allclose(found.box, [width / 2, height / 4, width, height], atol=0.1)
    assert found.details["answer"] == SCRIPTED[family] and "failure" not in found.details


def test_reasoning_that_the_template_opens_is_no_answer(folders, odd):
    grounder = registry.grounder(f"vlm:{folders('qwen3_vl')}", max_new_tokens=3, device="cpu")
    template = grounder.model.processor.chat_template
    grounder.model.processor.chat_template = template + "{{ '<think>' }}"
    (answer,), _ = grounder.answer([odd[0].image.array()], ["the cup"])
    assert answer.startswith("<think>")
    assert (
        "no box in the answer" in grounder.questions.read(odd[0], answer + "[0, 0, 500, 500]", None).details["failure"]
    )


def test_every_family_is_asked_as_its_makers_do(folders):
    asked = {kind: registry.grounder(f"vlm:{folders(kind)}", device="cpu") for kind in ("qwen2_5_vl", "qwen3_vl")}
    assert "Locate it in this image and output the bbox coordinates" in asked["qwen2_5_vl"].questions.text("it")
    assert 'Locate every object that matches the description "it" in the image.' in asked["qwen3_vl"].questions.text(
        "it"
    )
    assert [grounder.questions.frame for grounder in asked.values()] == ["resized", "0-1000"]


def test_a_prompt_needs_a_place_for_the_expression_and_may_have_braces(folders):
    grounder = registry.grounder("owlv2", weights=folders("owlv2"), prompt='{"find": "{}"}', device="cpu")
    grounder.detect([np.zeros((32, 32, 3), np.uint8)], [["a cup"]])
    for name in ("owlv2", f"vlm:{folders('qwen3_vl')}"):
        options = {"weights": folders("owlv2")} if name == "owlv2" else {}
        with pytest.raises(VGGymError, match="prompt 'Where\\?' has no {} where the expression goes"):
            registry.grounder(name, prompt="Where?", device="cpu", **options)


def test_an_answer_without_a_box_is_a_failure_that_keeps_its_text(folders, odd):
    grounder = registry.grounder(f"vlm:{folders('qwen3_vl')}", device="cpu")
    sorry = grounder.questions.read(odd[0], "I see no cup.", None)
    assert sorry.details["answer"] == "I see no cup." and "no box in the answer" in sorry.details["failure"]
    far = grounder.questions.read(odd[0], "[2000, 2000, 3000, 3000]", None)
    assert "no box inside the image" in far.details["failure"]
    with pytest.warns(UserWarning, match="reach far outside their images.*read in the frame '0-1000'"):
        for _ in range(8):
            grounder.questions.read(odd[0], "[2000, 2000, 3000, 3000]", None)


def test_an_outline_is_the_box_around_it(folders, odd):
    task = "<REFERRING_EXPRESSION_SEGMENTATION>{}"
    grounder = registry.grounder("florence-2", weights=folders("florence2"), prompt=task, device="cpu")
    found = grounder.questions.read(odd[0], "<loc_100><loc_900><loc_500><loc_200><loc_300><loc_100>", None)
    np.testing.assert_allclose(found.box / [61, 83, 61, 83], [0.1, 0.1, 0.5, 0.9], atol=1e-3)


def test_options_of_asking_are_options_and_in_the_source(folders):
    name = f"vlm:{folders('qwen2_5_vl')}"
    options = {"prompt": "Where is {}?", "frame": "pixels", "num_beams": 2, "max_pixels": 3136, "system": "Be brief."}
    grounder = registry.grounder(name, device="cpu", **options)
    assert "Where is it?" in grounder.questions.text("it") and "Be brief." in grounder.text("it")
    for part in ("@sha256:", "frame=pixels", "'Where is {}?'", "num_beams=2", "'longest_edge': 3136", "Be brief."):
        assert part in grounder.source
    assert grounder.fingerprint != registry.grounder(name, device="cpu").fingerprint
    _, ((width, height),) = grounder.answer([np.zeros((300, 200, 3), np.uint8)], ["it"])
    assert width * height <= 3136


def test_errors_say_what_to_do(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, way in (("owlv2", "owlv2.weights=/path"), ("vlm", "vlm:/path"), ("florence-2", "florence-2.weights=")):
        with pytest.raises(VGGymError, match=f"no weights .*Without hub access give a folder.*{way}"):
            registry.grounder(name)
    with pytest.raises(VGGymError, match="no such folder"):
        registry.grounder("vlm:/no/where")
    with pytest.raises(VGGymError, match="unknown precision 'fp16'"):
        registry.grounder(f"vlm:{folders('qwen3_vl')}", precision="fp16")
    with pytest.raises(VGGymError, match="unknown box frame 'percent'"):
        registry.grounder(f"vlm:{folders('qwen3_vl')}", frame="percent")
    with pytest.raises(VGGymError, match="no limits of pixels"):
        registry.grounder(f"vlm:{folders('internvl')}", max_pixels=100)
    with pytest.raises(VGGymError, match="unknown option of owlv2 'promt'"):
        registry.grounder("owlv2", promt="")
    with pytest.raises(VGGymError, match="no weights .* for vlm"):
        registry.grounder(f"vlm:{folders('owlv2')}")


def test_a_model_without_a_chat_template_or_of_no_known_family_is_refused(folders, tmp_path):
    import shutil

    folder = shutil.copytree(folders("qwen3_vl"), tmp_path / "plain")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(VGGymError, match="has no chat template"):
        registry.grounder(f"vlm:{folder}")


def test_weights_that_lack_tensors_or_are_pickles_are_refused(folders, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders("owlv2"), tmp_path / "lacking")
    state = load_file(folder / "model.safetensors")
    save_file(dict(list(state.items())[3:]), folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VGGymError, match="3 tensors are missing"):
        registry.grounder("owlv2", weights=str(folder))
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(VGGymError, match="no weights"):
        registry.grounder("owlv2", weights=str(folder))


def test_one_table_of_all_counts_failures_and_records_the_weights(folders, tmp_path):
    names = ["owlv2", f"vlm:{folders('qwen3_vl')}"]
    options = {"owlv2": {"weights": folders("owlv2"), "device": "cpu"}, "vlm": {"max_new_tokens": 4, "device": "cpu"}}
    comparison = Comparison(names, str(tmp_path), "refshapes", clip="none", limit=4, options=options, refine="no-op")
    rows = {row["method"]: row for row in comparison.run()}
    vlm = rows[names[1]]
    assert vlm["failures"] == 4 and vlm["mean_iou"] == 0
    assert "@sha256:" in vlm["source"] and "frame=0-1000" in vlm["source"] and "@sha256:" in rows["owlv2"]["source"]
    assert "owlv2 + no-op" in rows and "owlv2 proposal-oracle" in rows
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert all("answer" in line for line in lines if line["method"] == names[1])


def test_a_picture_is_grounded_by_a_local_folder(folders, odd, tmp_path, capsys):
    picture = tmp_path / "photo.png"
    Image.fromarray(odd[0].image.array()).save(picture)
    folder = folders("grounding-dino")
    main(["ground", str(picture), "the red cup", "--method", "grounding-dino", "--weights", folder, "--json"])
    row = json.loads(capsys.readouterr().out)
    (found,) = registry.grounder("grounding-dino", weights=folder).ground(odd[:1])
    np.testing.assert_allclose(row["box"], found.box, atol=0.1)
    assert row["method"].startswith("grounding-dino") and row["score"] == pytest.approx(found.score, abs=1e-3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.filterwarnings("ignore:owlv2 reads 32 tokens")
def test_the_tiny_models_make_one_table(folders, tmp_path, monkeypatch):
    """The command of the page of results, on four queries."""
    for name in (*tiny_models.DETECTORS, *tiny_models.VLMS, "sam3"):
        (tmp_path / name).symlink_to(folders(name), target_is_directory=True)
    for name, make in tiny_models.YOLOS.items():
        make(tmp_path / f"{name}.pt")
    tiny_models.text_clip(tmp_path / "text-clip")
    _, _, *arguments = tiny_models.command(tmp_path).replace("--limit 50", "--limit 4").split()
    main(["evaluate", *arguments])
    rows = json.loads((tmp_path / "results" / "results.json").read_text())["rows"]
    ours = {row["method"]: row for row in rows if "source" in row}
    asked = arguments[arguments.index("--methods") + 1].split(",")
    assert set(asked) <= set(ours) and all(ours[name]["n"] == 4 for name in asked)
    assert all("@sha256:" in ours[name]["source"] for name in asked)
    noisy = [name for name in asked if name.startswith("vlm:") and not name.endswith("rex_omni")]
    assert all(ours[name]["failures"] == 4 for name in noisy)  # what they write is noise
