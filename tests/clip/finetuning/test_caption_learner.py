"""CLIP from pictures and captions alone: its losses, whole trainings, data sets without boxes."""

import json

import pytest
import torch

from tests.clip.finetuning.own_data import own_data
from tests.clip.finetuning.test_clip_learner import small
from tests.tiny_clip import TINY
from vg_gym.clip.finetuning.caption_learner import CaptionLearner
from vg_gym.clip.finetuning.learners import train_clip
from vg_gym.clip.loader import load_clip
from vg_gym.errors import VGGymError

SIZES = {**TINY, "vision_cfg": {**TINY["vision_cfg"], "pool_type": "avg"},
         "text_cfg": {"context_length": 32, "width": 32, "heads": 2, "layers": 1}}  # fmt: skip


def captions(out, **changes):
    start = {"learn_from": "captions", "model": SIZES, "dataset": "refscenes", "dataset_options": {"scenes": 8}}
    return small(out, **{**start, "min_count": 2, "batch_size": 8, "validate_every": 4, **changes})


@pytest.fixture
def few_validation_pictures(monkeypatch):
    monkeypatch.setattr("vg_gym.clip.finetuning.caption_learner.VALIDATION_BATCHES", 1)
    monkeypatch.setattr("vg_gym.clip.finetuning.caption_learner.VALIDATION_PICTURES", 8)


def test_the_loss_falls_and_every_part_learns(tmp_path):
    learner = CaptionLearner(captions(tmp_path))
    optimizer = torch.optim.AdamW(learner.groups(learner.config), lr=3e-3)
    batch, totals = learner.batch(0), []
    for _ in range(30):
        losses = learner.losses(batch)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert losses.keys() == {"to_pictures", "to_captions"} and totals[-1] < 0.8 * totals[0]
    unused = [name for name, parameter in learner.module.named_parameters() if parameter.grad is None]
    assert unused == []


def test_pictures_learn_the_words_of_their_captions(tmp_path):
    learner = CaptionLearner(captions(tmp_path, word_weight=0.5))
    optimizer = torch.optim.AdamW(learner.groups(learner.config), lr=3e-3)
    batch, words = learner.batch(0), []
    for _ in range(20):
        losses = learner.losses(batch)
        optimizer.zero_grad()
        losses["words"].backward()
        optimizer.step()
        words.append(float(losses["words"].detach()))
    assert losses.keys() == {"to_pictures", "to_captions", "words"} and words[-1] < 0.8 * words[0]


def test_wrong_captions_are_negatives_of_pictures_only(tmp_path):
    learner = CaptionLearner(captions(tmp_path))
    batch = learner.batch(0)
    assert batch.wrong
    with_wrong = learner.losses(batch)
    batch.wrong = []
    without = learner.losses(batch)
    torch.testing.assert_close(with_wrong["to_pictures"], without["to_pictures"])
    assert with_wrong["to_captions"] > without["to_captions"]


def test_training_from_captions_reports_what_is_reached(tmp_path, few_validation_pictures):
    folder = train_clip(captions(tmp_path / "run", steps=4))
    figures = json.loads((folder / "metrics.json").read_text())
    assert {"caption_r1", "dense_r1", "crop_r1", "window_iou"} <= figures.keys()
    clip = load_clip(str(folder))
    assert clip.dense == "tokens" and {"red", "dog", "the"} <= set(clip.words)
    assert clip.encode_dense([torch.zeros(40, 60, 3, dtype=torch.uint8).numpy()]).shape == (1, 4, 4, 16)


def test_it_is_fine_tuned_on_boxes(tmp_path, few_validation_pictures):
    start = train_clip(captions(tmp_path / "start", steps=1))
    changes = {"learn_from": "boxes", "clip": str(start), "model": None, "crop_size": None, "dense": None, "steps": 2}
    tuned = train_clip(captions(tmp_path / "tuned", **changes))
    assert load_clip(str(tuned)).words == load_clip(str(start)).words


def test_captions_of_own_data_need_no_boxes(tmp_path, few_validation_pictures):
    changes = {"dataset": str(own_data(tmp_path, boxes=False)), "dataset_options": {}, "min_count": 1, "batch_size": 2}
    folder = train_clip(captions(tmp_path / "run", **changes, validate_split="train"))
    figures = json.loads((folder / "metrics.json").read_text())
    assert "caption_r1" in figures and "window_iou" not in figures
    assert "zebra" in load_clip(str(folder)).words
    with pytest.raises(VGGymError, match="has no boxes"):
        train_clip(captions(tmp_path / "boxes", **changes, validate_split="train", learn_from="boxes"))


def test_other_sources_are_named(tmp_path):
    with pytest.raises(VGGymError, match="unknown learn_from 'caption': did you mean 'captions'"):
        train_clip(captions(tmp_path, learn_from="caption"))
