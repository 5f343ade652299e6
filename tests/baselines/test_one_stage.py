"""One-stage grounders: they learn, are saved and loaded, start pretrained, refuse what is not theirs."""

from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch
import torchvision

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.one_stage import dynamic_mdetr_clip
from vg_gym.baselines.one_stage.box_regression import covered_share
from vg_gym.baselines.one_stage.frozen_features import DETECTOR_CHANNELS, anchor_offsets, patches_per_cell
from vg_gym.baselines.one_stage.text_branch import text_encoder
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder
from vg_gym.learned.grounder_learner import GrounderConfig, GrounderLearner, train_grounder
from vg_gym.learned.model import build
from vg_gym.learned.weights import load_model

SIZES = {"backbone": "frozen", "image_size": 128, "dim": 64, "heads": 4, "feedforward": 128, "dropout": 0.0,
         "tokenizer": "clip", "max_tokens": 16}  # fmt: skip
BRANCHES = {**SIZES, "stride": 16, "visual_layers": 0, "joint_layers": 2}
SMALL = {
    "mdetr": {**SIZES, "canvas": "square", "encoder_layers": 2, "decoder_layers": 2, "queries": 4},
    "transvg": BRANCHES,
    "dynamic-mdetr": {**BRANCHES, "points": 9, "stage_loss": True},
    "red": {**BRANCHES, "red": 8},
}


def config(folder, model, **changes):
    given = {"out": str(folder), "model": model, "options": SMALL[model], "dataset_options": {"scenes": 2},
             "steps": 30, "batch_size": 2, "flip": False, "validate_split": "train", "validate_samples": 8,
             "validate_every": 1000, "warmup": 5, "learning_rate": 1e-3, "weight_decay": 0.0, "ema": 0.0,
             "workers": 0}  # fmt: skip
    return GrounderConfig(**given | changes)


@pytest.mark.parametrize("model", SMALL)
def test_overfits_eight_samples(tmp_path, model):
    torch.set_num_threads(1)
    learner = GrounderLearner(config(tmp_path, model))
    optimizer = torch.optim.AdamW(learner.groups(learner.config), weight_decay=0.0)
    batch, totals = learner.batch(0), []
    learner.module.train()
    for step in range(1, 601):
        total = torch.stack(list(learner.losses(batch).values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(learner.module.parameters(), 0.5)
        optimizer.step()
        totals.append(float(total.detach()))
        if step % 50 == 0 and learner.validate(learner.module.eval())["mean_iou"] > 0.92:
            break
        learner.module.train()
    assert totals[39] < totals[0]
    figures = learner.validate(learner.module.eval())
    assert figures["mean_iou"] > 0.9 and figures["acc@0.5"] == 1


@pytest.mark.parametrize("model", SMALL)
def test_training_writes_a_grounder(tmp_path, model):
    folder = train_grounder(config(tmp_path, model, steps=3))
    grounder = registry.grounder(model, weights=str(folder))
    samples = RefShapes("refshapes", "val", scenes=3)[:]
    queries = [s.query for s in samples]
    found = grounder.ground(queries)
    assert all(box_ops.is_valid(p.box, q.image.size) for p, q in zip(found, queries, strict=True))
    alone = [grounder.ground([q])[0].box for q in queries]
    np.testing.assert_allclose([p.box for p in found], alone, atol=0.05)
    with pytest.raises(VGGymError, match="does not refine"):
        grounder.ground(queries, np.stack([p.box for p in found]))
    other = "transvg" if model == "mdetr" else "mdetr"
    with pytest.raises(VGGymError, match=f"is a {model}, not a {other}"):
        registry.grounder(other, weights=str(folder))


def test_one_kind_of_network_starts_from_another(tmp_path):
    folder = train_grounder(config(tmp_path / "a", "mdetr", steps=2))
    learner = GrounderLearner(config(tmp_path / "b", "transvg", init_from=str(folder)))
    _, mdetr = load_model(folder)
    own, theirs = learner.module.state_dict(), mdetr.state_dict()
    layer = "encoder.layers.1.linear2.weight"
    for ours, name in ((f"vl_transformer.{layer}", f"transformer.{layer}"),
                       ("visumodel.input_proj.weight", "input_proj.weight"),
                       ("text_proj.weight", "transformer.resizer.fc.weight")):  # fmt: skip
        assert torch.equal(own[ours], theirs[name]), ours
    with pytest.raises(VGGymError, match="no trained grounder in nowhere"):
        GrounderLearner(config(tmp_path / "c", "transvg", init_from="nowhere"))


def test_a_dictionary_of_the_training_expressions(tmp_path):
    module = GrounderLearner(config(tmp_path, "red", dataset_options={"scenes": 40})).module.deconfounder
    assert module.prior.sum() == pytest.approx(1) and (module.prior > 0).sum() >= 4
    assert module.entries.square().mean() == pytest.approx(1, rel=0.3)
    words = torch.randn(3, 5, 64)
    assert not torch.equal(module(words), words)


def test_cells_know_how_much_of_them_a_box_covers():
    covered = covered_share(torch.tensor([[0.5, 0.0, 1.0, 0.25]]), 4)[0].view(4, 4)
    assert covered[0].tolist() == [0, 0, 1, 1] and covered[1:].sum() == 0
    assert covered_share(torch.tensor([[0.1, 0.1, 0.3, 0.2]]), 4).sum() == pytest.approx(0.2 * 0.1 * 16)


def test_several_expressions_share_an_image():
    model = build("transvg", BRANCHES).eval()
    samples = RefShapes("refshapes", "val", scenes=1)[:]
    seen = []
    model.visumodel.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    LearnedGrounder("transvg", model).ground([s.query for s in samples])
    assert seen == [1]


def test_branches_start_pretrained(tmp_path):
    """From files: torchvision's ResNet with its head, and a RoBERTa folder; offline names are explained."""
    text = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 40, "type_vocab_size": 1}  # fmt: skip
    network = torchvision.models.resnet18(weights=None)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    words = text_encoder("roberta", text)
    words.save_pretrained(tmp_path / "roberta")
    sizes = {"backbone": "resnet18", "dim": 64, "heads": 4, "encoder_layers": 1, "decoder_layers": 1, "text": text}
    weights = {"backbone_weights": str(tmp_path / "resnet18.pth"), "text_weights": str(tmp_path / "roberta")}
    model = build("mdetr", {**sizes, **weights})
    model.init_weights()
    assert torch.equal(model.backbone[0].body.layer4[1].conv2.weight, network.layer4[1].conv2.weight)
    name = "encoder.layer.0.output.dense.weight"
    assert torch.equal(model.transformer.text_encoder.state_dict()[name], words.state_dict()[name])
    with pytest.raises(VGGymError, match="no weights 'nowhere.pth' for resnet18.*backbone_weights=null"):
        build("mdetr", {**sizes, "backbone_weights": "nowhere.pth"}).init_weights()
    with pytest.raises(VGGymError, match="no text encoder './nowhere'.*text_weights=null"):
        build("mdetr", {**sizes, **weights, "text_weights": "./nowhere"}).init_weights()


def test_the_clip_variant_starts_from_a_clip_on_a_larger_canvas(tmp_path, monkeypatch):
    sizes = {"embed_dim": 64, "quick_gelu": False,
             "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
             "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}}  # fmt: skip
    clip = open_clip.model.CLIP(**sizes)
    start = SimpleNamespace(name="a clip", model=clip, config=sizes)
    monkeypatch.setattr(dynamic_mdetr_clip, "load_clip", lambda name: start)
    options = {"clip": sizes, "image_size": 64, "heads": 2, "feedforward": 64, "points": 4, "max_tokens": 10}
    model = build("dynamic-mdetr-clip", options)
    model.init_weights()
    grown, own = model.clip.visual.positional_embedding, clip.visual.positional_embedding
    assert len(grown) == 17 and torch.equal(grown[0], own[0])
    assert torch.equal(model.clip.visual.conv1.weight, clip.visual.conv1.weight)
    queries = [s.query for s in RefShapes("refshapes", "val", scenes=1)]
    assert len(LearnedGrounder("dynamic-mdetr-clip", model).ground(queries)) == 4
    start.config = {**sizes, "quick_gelu": True}
    with pytest.raises(VGGymError, match="a clip were trained with quick_gelu=True.*options.clip.quick_gelu=true"):
        model.init_weights()


def test_a_frozen_backbone_takes_a_clip_whose_patches_are_its_cells():
    sizes = {**BRANCHES, "image_size": 256, "dim": 192, "clip": "refscenes-regions", "phrases": True, "offsets": True}
    torch.manual_seed(0)
    model = build("transvg", sizes)
    model.init_weights()
    assert model.visumodel.input_proj.in_channels == 192 + DETECTOR_CHANNELS
    assert torch.equal(model.visumodel.input_proj.weight[:, :192, 0, 0], torch.eye(192))
    (sample,) = registry.open_dataset("refscenes", "val", scenes=1)[:1]
    (prediction,) = LearnedGrounder("transvg", model).ground([sample.query])
    assert np.isfinite(prediction.box).all()
    with pytest.raises(VGGymError, match="patches of 8 or 16 pixels; CLIP coarse: 32"):
        patches_per_cell(SimpleNamespace(name="coarse", image_size=224, grid=7))


def test_offsets_are_from_where_the_anchor_is():
    dense = torch.zeros(2, 8, 16, 16)
    dense[:, 0] = 1.0
    dense[0, :, 2:7, 10:15] = torch.eye(8)[1][:, None, None]  # the anchor, centre (12.5, 4.5) / 16
    dense[0, :, 11:15, 1:5] = dense[0, :, 11:15, 11:15] = torch.eye(8)[2][:, None, None]  # two heads, one nearer
    heads, anchors = torch.eye(8)[[2, 2]], torch.stack([torch.eye(8)[1], torch.zeros(8)])
    found = anchor_offsets(dense, heads, anchors, scale=100.0)
    assert found.shape == (2, 64, 6) and not found[1].any()
    row, column = 6, 1  # its centre is (0.1875, 0.8125)
    right, down, distance, _, _, one = found[0, row * 8 + column].tolist()
    assert (right, down) == pytest.approx((0.1875 - 12.5 / 16, 0.8125 - 4.5 / 16), abs=1e-2)
    assert distance == pytest.approx(np.hypot(right, down)) and one == 1
    farther = found[0, :, 4].view(8, 8)
    assert abs(farther[6, 6]) < 0.15 and farther[6, 1] > 0.3


@pytest.mark.parametrize("name", ["mdetr", "transvg", "dynamic-mdetr", "red"])
def test_a_presence_head_gives_the_score_and_changes_no_box(name):
    sample, grounder = registry.open_dataset("refshapes", "val")[0], registry.grounder(name)
    (with_head,) = grounder.ground([sample.query])
    grounder.model.presence = None
    (without,) = grounder.ground([sample.query])
    assert 0 <= with_head.score <= 1 and (without.score is None) == (name != "mdetr")
    np.testing.assert_array_equal(with_head.box, without.box)
