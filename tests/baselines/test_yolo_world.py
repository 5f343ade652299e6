"""A random YOLO-World, saved as ultralytics saves it and read without running code."""

import numpy as np
import pytest
import torch

from experiments import tiny_models
from vg_gym import registry
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.errors import VGGymError
from vg_gym.types import Proposer


class TextClip:
    """Stands for CLIP ViT-B/32: a random unit feature for every text."""

    name, dim, fingerprint = "random", 512, "random"

    def encode_text(self, texts):
        rows = [np.random.default_rng(list(text.encode())).normal(size=512) for text in texts]
        return np.float32(rows) / np.linalg.norm(np.float32(rows), axis=1, keepdims=True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_models.yolo_world(tmp_path_factory.mktemp("world") / "world.pt")


def load(weights, make=registry.grounder, **options):
    clip = options.pop("text_clip", TextClip())
    return make("yolo-world", weights=weights, text_clip=clip, min_score=0.0, image_size=64, device="cpu", **options)


def test_scores_are_those_of_ultralytics_with_the_same_texts(weights, blind):
    """``set_classes`` of ultralytics, with its own encoder replaced by ours."""
    queries, grounder = blind[:5], load(weights)
    found = grounder.ground(queries)
    model = ultralytics_package().YOLOWorld(weights)
    for query, ours in zip(queries, found, strict=True):
        features = torch.as_tensor(TextClip().encode_text([query.expression]))[None]
        model.model.get_text_pe = lambda *a, features=features, **k: features
        model.set_classes([query.expression])
        image = np.ascontiguousarray(query.image.array()[..., ::-1])
        (theirs,) = model.predict(image, imgsz=64, conf=0.0, max_det=50, device="cpu", verbose=False)
        assert ours.score == pytest.approx(float(theirs.boxes.conf.max()), abs=1e-7)
        assert len(ours.details["proposals"]) <= 50 and "@sha256:" in ours.details["source"]
    assert len({p.score for p in found}) > 1


def test_it_proposes_boxes_of_classes_after_it_grounded(weights, blind):
    proposer = load(weights, registry.proposer, classes="cat, dog")
    image = blind[0].image.array()
    first = proposer.propose([image])[0]
    proposer.ground(blind[:1])
    again = proposer.propose([image])[0]
    assert isinstance(proposer, Proposer) and set(first.labels) <= {"cat", "dog"}
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert load(weights, classes=["bird"]).fingerprint != proposer.fingerprint


def test_errors(weights, tiny_clip, tmp_path):
    with pytest.raises(VGGymError, match="reads texts of width 512, and tiny has 16"):
        load(weights, text_clip=tiny_clip)
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for path in (tmp_path / "junk.pt", tmp_path / "none.pt"):
        with pytest.raises(VGGymError, match="no weights .* for yolo-world.*give a local file"):
            load(str(path))
