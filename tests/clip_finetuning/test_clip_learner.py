"""Fine-tuning CLIP: batches, losses, the report, whole trainings."""

import json
import math

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.encoder import load_clip
from vg_gym.clip_finetuning import clip_learner
from vg_gym.clip_finetuning.batches import DatasetBatches, perturb
from vg_gym.clip_finetuning.clip_learner import ClipLearner, train_clip
from vg_gym.clip_finetuning.config import ClipTrainConfig
from vg_gym.clip_finetuning.localization import localization_report
from vg_gym.clip_finetuning.losses import localization_loss, multi_positive, region_features
from vg_gym.clip_finetuning.refshapes_batches import RefShapesBatches
from vg_gym.config import load_config
from vg_gym.data.expressions import parse
from vg_gym.data.refshapes import RefShapes
from vg_gym.errors import VGGymError


def small(out, **changes):
    options = {"steps": 4, "batch_size": 2, "validate_every": 2, "validate_samples": 4, "workers": 0, "warmup": 1}
    start = {"model": TINY, "crop_size": 32, "dense": "tokens", "lr": 1e-3, "dataset_options": {"scenes": 40}}
    return ClipTrainConfig(**{"out": str(out), **start, **options, **changes})


def test_region_features_are_the_encoder_s(tiny_clip, rng):
    from vg_gym.clip.dense import box_mean, l2_normalize, summed_area

    maps = rng.normal(size=(2, 4, 4, 16)).astype(np.float32)
    low = rng.uniform(0, 0.5, (2, 6, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (2, 6, 2))], -1).astype(np.float32)
    ours = region_features(torch.from_numpy(maps), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(ours, l2_normalize(box_mean(summed_area(maps), boxes)), atol=1e-4)


def test_losses_by_hand():
    logits = torch.tensor([[2.0, 0.0, -1.0, 9.0]])
    match = torch.tensor([[1, 1, 0, -1]])
    p = torch.tensor([2.0, 0.0, -1.0]).log_softmax(0)
    torch.testing.assert_close(multi_positive(logits, match), -(p[0] + p[1]) / 2)
    assert multi_positive(logits, torch.zeros(1, 4)) == 0
    overlap, valid = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[True, True, False]])
    target = torch.tensor([0.0, -5.0]).softmax(0)
    expected = -(target * torch.tensor([1.0, 2.0]).log_softmax(0)).sum()
    torch.testing.assert_close(localization_loss(torch.tensor([[1.0, 2.0, 7.0]]), overlap, valid, 0.1), expected)


def test_near_misses_are_boxes_of_all_overlaps(rng):
    boxes = np.tile(np.array([[0.3, 0.3, 0.6, 0.7]], np.float32), (300, 1))
    near = perturb(boxes, rng, 2)
    assert box_ops.is_valid(near, (1, 1)).all()
    overlaps = box_ops.iou(near, boxes[0])
    assert (overlaps < 0.4).mean() > 0.15 and (overlaps > 0.7).mean() > 0.1


def test_refshapes_batches_match_what_is_true():
    dataset = RefShapes("refshapes", "train", scenes=50)
    batch = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    again = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    np.testing.assert_array_equal(batch.images, again.images)
    assert batch.texts == again.texts
    rng = np.random.default_rng([1, 5])
    scenes = [dataset.record(int(i)).scene() for i in rng.integers(50, size=3)]
    for row, text in enumerate(batch.texts):
        expression, own = parse(text), batch.text_image[row]
        assert batch.match[row, own].tolist().count(1) == 1 and batch.match[row, own, batch.text_object[row]] == 1
        assert expression.referents(scenes[own]) == [batch.text_object[row]]
        for image, scene in enumerate(scenes):
            for column, item in enumerate(scene):
                if image != own:
                    fits = expression.head.fits(item)
                    known = 1 if batch.by_looks[row] else -1
                    assert batch.match[row, image, column] == (known if fits else 0)


def test_any_data_set_gives_batches():
    dataset = RefShapes("refshapes", "train", scenes=6)
    batch = DatasetBatches(dataset, 4, 64, 32, texts=3).batch(0)
    assert len(batch.texts) == 12 and batch.crops.shape[1:] == (32, 32, 3)
    assert (batch.match.max(axis=(1, 2)) == 1).all()


def test_training_resumes_to_the_same_weights(tmp_path):
    """A run of more steps goes on from a finished one; the rate of a long warm-up does not know how many there are."""
    train_clip(small(tmp_path / "whole", steps=6, warmup=8))
    train_clip(small(tmp_path / "parts", steps=4, warmup=8))
    train_clip(small(tmp_path / "parts", steps=6, warmup=8, resume=True))
    whole, parts = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("whole", "parts"))
    assert parts["step"] == 6
    torch.testing.assert_close(parts["module"], whole["module"], rtol=0, atol=0)


def test_the_loss_falls(tmp_path):
    learner = ClipLearner(small(tmp_path))
    optimizer = torch.optim.AdamW(learner.groups(learner.config), lr=1e-3, betas=learner.config.betas)
    batches, losses = [learner.batch(step) for step in range(2)], []
    for _ in range(30):
        total = sum(sum(learner.losses(batch).values()) for batch in batches) / 2
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert losses[-1] < 0.8 * losses[0]


def test_similarities_are_exact_in_mixed_precision(tmp_path, monkeypatch):
    seen = []

    def spy(logits, *others):
        seen.append(logits.dtype)
        return logits.mean()

    for name in ("symmetric_contrastive", "localization_loss"):
        monkeypatch.setattr(clip_learner, name, spy)
    learner = ClipLearner(small(tmp_path))
    with torch.autocast("cpu", torch.bfloat16):
        assert learner.losses(learner.batch(0)).keys() == {"crop", "region", "localize"}
    assert seen == [torch.float32] * 3


def test_the_logit_scale_stays_within_bounds(tmp_path):
    learner = ClipLearner(small(tmp_path))
    for start, kept in ((9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        torch.nn.init.constant_(learner.encoder.model.logit_scale, start)
        learner.after_step()
        assert float(learner.encoder.model.logit_scale.detach()) == pytest.approx(kept)


def test_frozen_weights_are_left_alone(tmp_path):
    config = small(tmp_path, train_image_blocks=1, train_text_blocks=0, steps=1)
    before = ClipLearner(config).module.state_dict()
    train_clip(config)
    after = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    changed = {k for k, v in after.items() if not torch.equal(v, before[k])}
    allowed = ("visual.transformer.resblocks.1", "visual.ln_post", "visual.proj", "logit_scale")
    assert changed and all(k.startswith(allowed) for k in changed)


def test_fine_tuning_starts_from_a_model_and_saves_it(tmp_path):
    start = train_clip(small(tmp_path / "start", steps=1))
    config = small(tmp_path / "tuned", steps=2, clip=str(start), model=None, crop_size=None, dense=None)
    tuned = load_clip(str(train_clip(config)))
    assert (tuned.crop_size, tuned.dense, tuned.words) == (32, "tokens", load_clip(str(start)).words)
    figures = json.loads((tmp_path / "tuned" / "model" / "metrics.json").read_text())
    assert {"dense_r1", "crop_r1", "window_iou", "n", "window_iou/size", "logit_scale"} <= figures.keys()


def test_the_report_of_a_perfect_localiser_is_perfect():
    class Perfect:
        grid, dim = 16, 4

        def encode_text(self, texts):
            return np.tile(np.array([[1, 0, 0, 0]], np.float32), (len(texts), 1))

        def encode_dense(self, images):
            maps = np.zeros((1, 16, 16, 4), np.float32)
            maps[..., 1] = 1
            maps[0, 4:8, 8:12] = [1, 0, 0, 0]
            # Halves cancel: only the whole object looks exactly like the text.
            maps[0, 4:8, 8:10, 2], maps[0, 4:8, 10:12, 2] = 1, -1
            maps[0, 4:6, 8:12, 3], maps[0, 6:8, 8:12, 3] = 1, -1
            return maps

    from dataclasses import replace

    from vg_gym.types import Objects

    sample = replace(RefShapes("refshapes", "val")[0], box=np.array([64, 32, 96, 64], np.float32), ann_id=2)

    class One(list):
        def objects(self, image_id):
            return Objects(np.array([[0, 0, 20, 20], [64, 32, 96, 64]], np.float32), ("a", "b"), (1, 2))

    report = localization_report(Perfect(), One([sample]), crops=False)
    assert report["all"] == {"n": 1, "dense_r1": 1.0, "window_iou": 1.0}


def test_the_lattice_holds_all_boxes():
    boxes = lattice_boxes(4, 1.0)
    assert len(boxes) == 100 and len(np.unique(boxes, axis=0)) == 100
    assert len(lattice_boxes(4, 0.5, smallest=1.0, largest=2.0)) == (7 + 6 + 5) ** 2


def test_configs_name_unknown_keys(tmp_path):
    with pytest.raises(VGGymError, match="did you mean 'batch_size'"):
        load_config(ClipTrainConfig, ["batchsize=3"])
    with pytest.raises(VGGymError, match="steps"):
        load_config(ClipTrainConfig, ["steps=many"])
