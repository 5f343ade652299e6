"""Fine-tuning CLIP: what is trained, whole trainings."""

import json
import math

import pytest
import torch

from tests.clip.finetuning.own_data import own_data
from tests.tiny_clip import TINY
from vg_gym.clip.finetuning import clip_learner
from vg_gym.clip.finetuning.clip_learner import ClipLearner
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.clip.finetuning.learners import train_clip
from vg_gym.clip.loader import load_clip
from vg_gym.config import load_config
from vg_gym.errors import VGGymError


def small(out, **changes):
    options = {"steps": 4, "batch_size": 2, "validate_every": 2, "validate_samples": 4, "workers": 0, "warmup": 1}
    start = {
        "model": TINY,
        "crop_size": 32,
        "dense": "tokens",
        "learning_rate": 1e-3,
        "dataset_options": {"scenes": 40},
    }
    return ClipTrainConfig(**{"out": str(out), **start, **options, **changes})


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


def test_own_data_trains_a_clip_from_scratch_with_its_own_vocabulary(tmp_path):
    sizes = {**TINY, "text_cfg": {name: value for name, value in TINY["text_cfg"].items() if name != "vocab_size"}}
    path = own_data(tmp_path, boxes=True)
    options = {"dataset": str(path), "dataset_options": {}, "validate_split": "train", "min_count": 2, "model": sizes}
    clip = load_clip(str(train_clip(small(tmp_path / "run", steps=2, **options))))
    assert clip.words == ["a", "the", "zebra"] and clip.config["text_cfg"]["vocab_size"] == len(clip.words) + 4
    assert not (clip.encode_text(["a zebra"]) == clip.encode_text(["the zebra"])).all()
    assert (clip.encode_text(["a bus"]) == clip.encode_text(["a tram"])).all()


def test_configs_name_unknown_keys(tmp_path):
    with pytest.raises(VGGymError, match="did you mean 'batch_size'"):
        load_config(ClipTrainConfig, ["batchsize=3"])
    with pytest.raises(VGGymError, match="steps"):
        load_config(ClipTrainConfig, ["steps=many"])
