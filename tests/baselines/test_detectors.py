"""Detectors: each learns, is saved and loaded, refuses what is not its own; shipped ones find the objects."""

import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.detectors.detector_learner import DetectorConfig, DetectorLearner, train_detector
from vg_gym.baselines.detectors.detr_backbone import BACKBONE, load_backbone
from vg_gym.baselines.masks import mask_box
from vg_gym.errors import VGGymError
from vg_gym.storage.assets import built_in
from vg_gym.types import Proposer

KINDS = ("yolo", "detr", "ssd", "sam")


def images_and_boxes(split="val", count=24):
    """Distinct images with the boxes of all their objects."""
    data = registry.open_dataset("refshapes", split, scenes=count)
    first = {data[i].image_id: data[i] for i in reversed(range(len(data)))}
    return [s.query.image.array() for s in first.values()], [data.objects(i).boxes for i in first]


def recall(found, true):
    best = [box_ops.iou(t[:, None], f.boxes[None]).max(axis=1) for f, t in zip(found, true, strict=True)]
    return float((np.concatenate(best) >= 0.5).mean())


@pytest.mark.parametrize(("kind", "least"), [("yolo", 0.95), ("detr", 0.9), ("ssd", 0.9), ("sam", 0.9)])
def test_shipped_detectors_find_the_objects(kind, least):
    images, true = images_and_boxes()
    proposer = registry.proposer(kind)
    assert isinstance(proposer, Proposer)
    found = proposer.propose(images)
    assert recall(found, true) >= least
    for image, proposals in zip(images, found, strict=True):
        height, width = image.shape[:2]
        assert (proposals.boxes >= 0).all() and (proposals.boxes <= [width, height, width, height]).all()
        assert (np.diff(proposals.scores) <= 0).all() and len(proposals.labels) == len(proposals)
        if kind == "sam":
            tight = np.array([mask_box(mask) for mask in proposals.masks])
            np.testing.assert_array_equal(tight, proposals.boxes)
    assert proposer.propose([]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_images(kind):
    images, _ = images_and_boxes(count=3)
    proposer = registry.proposer(kind)
    for image, together in zip(images, proposer.propose(images), strict=True):
        (alone,) = proposer.propose([image])
        np.testing.assert_allclose(alone.boxes, together.boxes, atol=0.05)
        assert alone.labels == together.labels


@pytest.mark.parametrize("kind", KINDS)
def test_learning_saving_loading(kind, tmp_path):
    config = DetectorConfig(
        out=str(tmp_path), detector=kind, images=8, validate_images=2, steps=12, batch_size=4, validate_every=12,
        warmup=1, ema=0.0, workers=0, flip=False, learning_rate=2e-3,
    )  # fmt: skip
    learner = DetectorLearner(config)
    batch = learner.batch(0)
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(learner.groups(config), lr=2e-3)
    totals = []
    learner.module.train()
    for _ in range(12):
        torch.manual_seed(1)
        total = sum(learner.losses(batch).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.9 * totals[0], totals
    learner.module.eval()
    learner.detector.save(tmp_path)
    images, _ = images_and_boxes(count=1)
    again = registry.proposer(kind, weights=str(tmp_path))
    for mine, theirs in zip(learner.detector.propose(images), again.propose(images), strict=True):
        assert abs(len(mine) - len(theirs)) <= 2  # weights are kept in half precision
    state, loaded = learner.module.state_dict(), again.module.state_dict()
    assert state.keys() == loaded.keys()
    for name, value in state.items():
        torch.testing.assert_close(value.float(), loaded[name].float(), rtol=2e-3, atol=2e-3)


def test_a_training_run_ends_in_a_folder_that_loads(tmp_path):
    config = DetectorConfig(
        out=str(tmp_path), detector="yolo", images=8, validate_images=2, steps=2, batch_size=2, validate_every=2,
        warmup=1, workers=0,
    )  # fmt: skip
    folder = train_detector(config)
    assert registry.proposer("yolo", weights=str(folder)).categories == registry.proposer("yolo").categories
    assert {"recall@0.5", "recall@0.75"} <= json.loads((folder / "metrics.json").read_text()).keys()
    with pytest.raises(VGGymError, match="did you mean 'yolo'"):
        DetectorLearner(DetectorConfig(detector="yol"))


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("yolo", "no/such/yolov8x.pt", "yolo.weights="),
        ("detr", "no/such/detr", "detr.weights="),
        ("ssd", "ssd301", "ssd.weights="),
        ("sam", "vit_x", "sam.weights="),
        ("ssd", "ssd300_vgg16:no-such-file.pth", "ssd.weights="),
        ("sam", "vit_b:no-such-file.pth", "sam.weights="),
    ],
)
def test_missing_weights_say_how_to_pass_a_file(kind, weights, message):
    with pytest.raises(VGGymError, match=message):
        registry.proposer(kind, weights=weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_lacks_a_tensor_is_refused_and_the_tensor_named(kind, tmp_path):
    folder = shutil.copytree(built_in(kind, "refshapes"), tmp_path / kind)
    state = load_file(folder / "model.safetensors")
    lost = sorted(name for name in state if name.endswith(".weight"))[0]
    save_file({name: value for name, value in state.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(VGGymError, match=rf"1 (missing \(|tensors are missing: ).*{re.escape(lost)}"):
        registry.proposer(kind, weights=str(folder))


@pytest.mark.parametrize("kind", ("yolo", "ssd", "sam"))
def test_a_folder_without_a_detector_is_named(kind, tmp_path):
    with pytest.raises(VGGymError, match="holds no trained detector: cannot read config.json"):
        registry.proposer(kind, weights=str(tmp_path))


@torch.inference_mode()
def test_a_backbone_alone_is_the_detector_s():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    backbone = load_backbone("refshapes")
    assert torch.equal(torch.rand(3), expected)  # the generator is left as it was
    whole = registry.proposer("detr").module.model.backbone.model
    pixels = torch.rand(2, 3, 128, 128)
    for ours, theirs in zip(backbone(pixels), whole(pixels).feature_maps, strict=True):
        assert torch.equal(ours, theirs)


def test_a_backbone_of_something_else_is_refused(tmp_path):
    with pytest.raises(VGGymError, match="detr.weights="):
        load_backbone(str(tmp_path))
    folder = shutil.copytree(built_in("detr", "refshapes"), tmp_path / "detr")
    state = load_file(folder / "model.safetensors")
    lost = next(name for name in state if name.startswith(BACKBONE))
    save_file({name: value for name, value in state.items() if name != lost}, folder / "model.safetensors")
    with pytest.raises(VGGymError, match=f"1 missing .{re.escape(lost.removeprefix(BACKBONE))}"):
        load_backbone(str(folder))


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["VG_GYM_TEST_BOMB"],)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("yolo", "{}/bomb.pt"),
        ("ssd", "ssd300_vgg16:{}/bomb.pt"),
        ("sam", "vit_b:{}/bomb.pt"),
        ("sam", "{}/mobile_sam.pt"),
    ],
)
def test_a_checkpoint_from_a_stranger_runs_no_code(kind, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("VG_GYM_TEST_BOMB", str(tmp_path / "exploded"))
    for name in ("bomb.pt", "mobile_sam.pt"):
        torch.save({"model": Bomb()}, tmp_path / name)
    with pytest.raises(VGGymError):
        registry.proposer(kind, weights=weights.format(tmp_path))
    assert not (tmp_path / "exploded").exists()
    with zipfile.ZipFile(tmp_path / "bomb.pt") as archive:  # that it would have, read without care
        member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        pickle.load(io.BytesIO(archive.read(member)))
    assert (tmp_path / "exploded").exists()


@pytest.mark.slow
def test_mobile_sam_of_random_weights(tmp_path):
    from ultralytics.models.sam.build import build_mobile_sam

    torch.manual_seed(0)
    torch.save(build_mobile_sam().state_dict(), tmp_path / "mobile_sam.pt")
    images, _ = images_and_boxes(count=1)
    (found,) = registry.proposer("sam", weights=str(tmp_path / "mobile_sam.pt")).propose(images)
    assert found.masks.shape == (len(found), 128, 128)


def test_published_architectures_from_local_files(tmp_path):
    """Random weights in the published layouts, as a user's own files."""
    import torchvision

    torch.manual_seed(0)
    ssd = torchvision.models.detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    torch.save(ssd.state_dict(), tmp_path / "ssd.pth")
    loaded = registry.proposer("ssd", weights=f"ssdlite320_mobilenet_v3_large:{tmp_path / 'ssd.pth'}")
    assert len(loaded.categories) == 90 and loaded.image_size == 320
    images, _ = images_and_boxes(count=1)
    assert len(loaded.propose(images)) == 1
    transformers = pytest.importorskip("transformers")
    config = transformers.DetrConfig(
        use_timm_backbone=False, backbone_config=transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic",
            out_features=["stage4"]),
        use_pretrained_backbone=False, backbone=None, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2, num_queries=5,
    )  # fmt: skip
    transformers.DetrForObjectDetection(config).save_pretrained(tmp_path / "detr")
    transformers.DetrImageProcessor().save_pretrained(tmp_path / "detr")
    detr = registry.proposer("detr", weights=str(tmp_path / "detr"), min_score=0.0)
    assert len(detr.propose(images)[0]) == 5


@pytest.mark.filterwarnings("ignore:refcocog-umd:UserWarning")
@pytest.mark.parametrize(("file", "least"), [("yolov8n.pt", 36), ("yolox_nano.onnx", 36)])
def test_real_weights_propose_real_targets(realdata, file, least):
    """At least 36 of the 42 references have a proposal of the pipeline with IoU >= 0.5."""
    splits = [registry.open_dataset("refcocog-umd", s, root=str(realdata / "refcocog_mini")) for s in ("val", "test")]
    refs = list({s.ref_id: s for data in splits for s in (data[i] for i in range(len(data)))}.values())
    assert len(refs) == 42
    pipeline = registry.grounder("yolo-clip", weights=str(realdata / "weights" / file))
    found = [p.details["proposals"] for p in pipeline.ground([s.query for s in refs])]
    best = [box_ops.iou(boxes, s.box).max() for boxes, s in zip(found, refs, strict=True)]
    assert (np.array(best) >= 0.5).sum() >= least


def test_a_file_that_is_no_model_is_named(tmp_path):
    for name in ("junk.onnx", "junk.pt"):
        (tmp_path / name).write_bytes(b"junk")
        with pytest.raises(VGGymError, match="junk"):
            registry.proposer("yolo", weights=str(tmp_path / name))
    assert built_in("yolo", "refshapes").is_dir()
    assert built_in("yolo", "no-such") is None


def test_ultralytics_leaves_other_libraries_as_they_were():
    code = (
        "import torch, PIL.Image as I; before = I.open, torch.save;"
        "from vg_gym import registry; registry.proposer('yolo');"
        "assert before == (I.open, torch.save)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_folded_detector_finds_the_same_boxes_and_is_the_same_detector():
    whole = registry.proposer("ssd")
    images, _ = images_and_boxes(count=3)
    plain = whole.with_module(whole.module)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in whole.network.modules())
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in plain.network.modules())
    assert whole.fingerprint == plain.fingerprint
    for mine, theirs in zip(whole.propose(images), plain.propose(images), strict=True):
        assert len(mine) == len(theirs) > 0
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=1e-3)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 40), (3, 40), (4, 40), (3, 3), (40, 3), (1, 1)])
def test_rows_are_never_taken_for_channels(kind, size, rng):
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    (found,) = registry.proposer(kind).propose([image])
    assert (found.boxes >= 0).all() and (found.boxes <= [*size[::-1], *size[::-1]]).all()


def test_detr_sees_low_pictures_as_pillow_does(rng):
    detr = registry.proposer("detr")
    image, seen = rng.integers(0, 256, (3, 40, 3), dtype=np.uint8), []
    detr.module.register_forward_pre_hook(lambda *given: seen.append(given[2]["pixel_values"]), with_kwargs=True)
    detr.propose([image])
    wanted = detr.processor(images=[Image.fromarray(image)], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(seen[0], wanted, rtol=0, atol=0)
