"""RED's conditioned reading: causes are explained away, conditioned on in training, averaged out at test time."""

import pytest
import torch

from vg_gym.baselines.one_stage.red import ConditionedDeconfounder
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder_learner import GrounderConfig, GrounderLearner
from vg_gym.learned.model import build

SIZES = {"backbone": "frozen", "image_size": 128, "dim": 64, "heads": 4, "feedforward": 128, "dropout": 0.0,
         "tokenizer": "clip", "max_tokens": 16, "stride": 16, "visual_layers": 0, "joint_layers": 2, "red": 8,
         "red_reading": "conditioned"}  # fmt: skip
TEXTS = [f"the {color} {shape}" for color in ("red", "blue", "green") for shape in ("star", "ring", "heart", "cross")]


@pytest.fixture(scope="module")
def red():
    torch.manual_seed(0)
    module = ConditionedDeconfounder(dim=16, entries=6, width=128)
    module.learn(TEXTS, "refshapes")
    return module


def sentences(red):
    from vg_gym.baselines.one_stage.red import _features

    return torch.from_numpy(_features(TEXTS, "refshapes"))


def test_the_dictionary_has_a_prior_and_every_expression_an_entry(red):
    own = red.own_entries(sentences(red))
    assert red.prior.sum() == pytest.approx(1) and (red.prior[own] > 0).all()
    assert len(own.unique()) > 2


def test_what_the_causes_explain_is_gone(red):
    features = sentences(red)
    rest = red.unexplained(features[:, None])[:, 0]
    centered, rest = features - features.mean(0), rest - rest.mean(0)
    assert rest.square().sum() < 0.05 * centered.square().sum()
    assert torch.allclose(red.unexplained(rest[:, None])[:, 0], rest, atol=1e-5)


def test_training_conditions_on_the_own_entry_and_the_test_averages(red):
    tokens, features = torch.zeros(len(TEXTS), 3, 16), sentences(red)
    red.train()
    own = red(tokens, features)
    assert not torch.allclose(own[0], own[1]) and torch.equal(own[0, 0], own[0, 2])
    red.eval()
    averaged = red(tokens, features)
    assert torch.allclose(averaged, averaged[:1].expand_as(averaged))
    weights = torch.zeros(6).index_add_(0, red.own_entries(features), torch.full((len(TEXTS),), 1 / len(TEXTS)))
    codes = red.code(red.entries / red.entries.square().mean().sqrt())
    assert torch.allclose(averaged[0, 0], red.prior @ codes, atol=1e-5) and weights.sum() == pytest.approx(1)


def test_a_network_learns_with_it(tmp_path):
    options = {"out": str(tmp_path), "model": "red", "options": SIZES, "dataset_options": {"scenes": 8}, "steps": 2,
               "batch_size": 2, "flip": False, "validate_split": "train", "validate_samples": 4}  # fmt: skip
    learner = GrounderLearner(GrounderConfig(**options))
    losses = torch.stack(list(learner.losses(learner.batch(0)).values())).sum()
    losses.backward()
    assert learner.module.deconfounder.code.weight.grad.abs().sum() > 0
    assert 0 <= learner.validate(learner.module.eval())["mean_iou"] <= 1


def test_wrong_readings_are_refused():
    with pytest.raises(VGGymError, match="unknown reading of RED 'front door'"):
        build("red", {**SIZES, "red_reading": "front door"})
    text = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 40, "type_vocab_size": 1}  # fmt: skip
    with pytest.raises(VGGymError, match="needs tokenizer=clip"):
        build("red", {**SIZES, "tokenizer": "none", "text": text, "text_layer": 1})
