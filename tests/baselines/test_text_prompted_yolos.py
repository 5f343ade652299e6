"""A random YOLO-World and a random YOLOE, saved as ultralytics saves them and read without running code."""

import numpy as np
import open_clip
import pytest
import torch

from experiments import tiny_models
from vg_gym import registry
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.types import Proposer

CLASSES = {"yolo-world": "YOLOWorld", "yoloe": "YOLOE"}
both = pytest.mark.parametrize("name", CLASSES)


class TextClip:
    """Stands for the CLIP that encodes texts: a random unit feature for every text."""

    name, dim, fingerprint = "random", 512, "random"

    def encode_text(self, texts):
        rows = [np.random.default_rng(list(text.encode())).normal(size=512) for text in texts]
        return np.float32(rows) / np.linalg.norm(np.float32(rows), axis=1, keepdims=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("yolos")
    return {name: make(folder / f"{name}.pt") for name, make in tiny_models.YOLOS.items()}


def load(name, weights, make=registry.grounder, **options):
    options = {"text_clip": TextClip(), "min_score": 0.0, "image_size": 64, "device": "cpu"} | options
    return make(name, weights=weights, **options)


def told(name, file, texts):
    """A model of ultralytics after its own ``set_classes``, with the features of our encoder."""
    model = getattr(ultralytics_package(), CLASSES[name])(file)
    features = torch.as_tensor(TextClip().encode_text(texts))[None]
    if name == "yoloe":
        with torch.no_grad():
            model.set_classes(texts, model.model.model[-1].get_tpe(features))
    else:
        model.model.get_text_pe = lambda *a, **k: features
        model.set_classes(texts)
    return model


@both
def test_boxes_are_those_of_ultralytics_with_the_same_texts(name, weights, blind):
    """Ultralytics answers each query with a new model; ours is told one after another."""
    queries = blind[:3]
    found = load(name, weights[name]).ground(queries)
    for query, ours in zip(queries, found, strict=True):
        image = np.ascontiguousarray(query.image.array()[..., ::-1])
        model = told(name, weights[name], [query.expression])
        (theirs,) = model.predict(image, imgsz=64, conf=0.0, max_det=50, device="cpu", verbose=False)
        best = int(theirs.boxes.conf.argmax())
        assert ours.score == pytest.approx(float(theirs.boxes.conf[best]), abs=1e-7)
        if name == "yoloe":  # the boxes of the random YOLO-World are the same score many times
            np.testing.assert_allclose(ours.box, theirs.boxes.xyxy[best], atol=1e-3)
        assert len(ours.details["proposals"]) <= 50 and "@sha256:" in ours.details["source"]
    assert len({(p.score, p.details["proposals"].tobytes()) for p in found}) > 1


@both
def test_it_proposes_boxes_of_classes_after_it_grounded(name, weights, blind):
    proposer = load(name, weights[name], registry.proposer, classes="cat, dog")
    image = blind[0].image.array()
    first = proposer.propose([image])[0]
    proposer.ground(blind[:1])
    again = proposer.propose([image])[0]
    assert isinstance(proposer, Proposer) and len(first) and set(first.labels) <= {"cat", "dog"}
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert load(name, weights[name], classes=["bird"]).fingerprint != proposer.fingerprint


def test_classes_of_yoloe_are_those_of_ultralytics(weights, blind):
    image = blind[0].image.array()
    found = load("yoloe", weights["yoloe"], registry.proposer, classes="cat, dog").propose([image])[0]
    model = told("yoloe", weights["yoloe"], ["cat", "dog"])
    bgr = np.ascontiguousarray(image[..., ::-1])
    (theirs,) = model.predict(bgr, imgsz=64, conf=0.0, max_det=50, device="cpu", verbose=False)
    kept = {(score.item(), theirs.names[int(c)]) for score, c in zip(theirs.boxes.conf, theirs.boxes.cls, strict=True)}
    assert set(found.labels) == {"cat", "dog"} and len(found) > 10
    assert {(float(score), label) for score, label in zip(found.scores, found.labels, strict=True)} <= kept


def test_a_yoloe_that_detects_needs_no_masks(tmp_path, blind):
    file = tiny_models.yoloe(tmp_path / "detect.pt", "yoloe-11n.yaml")
    (found,) = load("yoloe", file).ground(blind[:1])
    assert found.score > 0


def test_texts_of_yoloe_are_read_by_mobile_clip(tmp_path, weights, blind, monkeypatch):
    """The architecture of the published text tower, with random weights, from a file."""
    small = open_clip.get_model_config("MobileCLIP-B")
    small["text_cfg"] |= {"layers": 1, "vocab_size": 49408}
    small["vision_cfg"]["timm_model_name"] = "vit_tiny_patch16_224"
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "MobileCLIP-B", small)
    torch.manual_seed(0)
    torch.save(open_clip.create_model("MobileCLIP-B").state_dict(), tmp_path / "clip.pt")
    grounder = load("yoloe", weights["yoloe"], text_clip=f"MobileCLIP-B:{tmp_path / 'clip.pt'}")
    assert isinstance(grounder.clip, ClipEncoder) and grounder.ground(blind[:1])[0].score > 0
    with pytest.raises(VGGymError, match="no dense features from a TimmModel"):
        _ = grounder.clip.grid


@both
def test_errors(name, weights, tiny_clip, tmp_path):
    with pytest.raises(VGGymError, match="reads texts of width 512, and tiny has 16"):
        load(name, weights[name], text_clip=tiny_clip)
    with pytest.raises(VGGymError, match=f"cannot load clip .*: {name}.text_clip=[A-Za-z0-9-]*:/path"):
        load(name, weights[name], text_clip="ViT-B-32:/none/here.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    other = weights["yoloe" if name == "yolo-world" else "yolo-world"]
    for path in (tmp_path / "junk.pt", tmp_path / "none.pt", other):
        with pytest.raises(VGGymError, match=f"no weights .* for {name}.*give a local file"):
            load(name, str(path))


def test_a_yoloe_with_classes_of_its_own_is_refused(weights, tmp_path):
    model = told("yoloe", weights["yoloe"], ["cat"])
    model.model.model[-1].fuse(model.model.pe)
    model.save(str(tmp_path / "fused.pt"))
    with pytest.raises(VGGymError, match="its classes are built in"):
        load("yoloe", str(tmp_path / "fused.pt"))


def test_the_text_model_is_the_one_of_the_checkpoint(weights):
    grounder = load("yoloe", weights["yoloe"])
    assert grounder.trained_with == "MobileCLIP-B:datacompdr_lt"
    grounder.model.model.text_model = "mobileclip2:b"
    assert grounder.trained_with == "MobileCLIP2-B:dfndr2b"
