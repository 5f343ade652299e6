"""The one-stage networks compute what the official code computes, and take the official key lists."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.baselines.parity import Fixture, close, full_keys
from vg_gym.baselines.one_stage.backbone import backbone
from vg_gym.baselines.one_stage.box_regression import box_losses
from vg_gym.baselines.one_stage.checkpoint_sizes import SIZE_READERS
from vg_gym.baselines.one_stage.checkpoints import DROPPED_SUFFIXES
from vg_gym.baselines.one_stage.dynamic_mdetr import DynamicMDETR, DynamicMDETROptions
from vg_gym.baselines.one_stage.dynamic_mdetr_clip import DynamicMDETRClip, DynamicMDETRClipOptions
from vg_gym.baselines.one_stage.mdetr import MDETR, MDETROptions
from vg_gym.baselines.one_stage.mdetr_losses import (
    LOSS_WEIGHTS,
    Layer,
    align_loss,
    aligned_tokens,
    layer_losses,
    match,
)
from vg_gym.baselines.one_stage.transformer import resize_mask, sine_positions
from vg_gym.baselines.one_stage.transvg import TransVG, TransVGOptions
from vg_gym.boxes import from_cxcywh
from vg_gym.clip.towers import dense_tokens, resize_positions
from vg_gym.learned.weights import load_strictly

TEXT = {"vocab_size": 500, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
BERT = {**TEXT, "num_hidden_layers": 3, "max_position_embeddings": 64}
ROBERTA = {**TEXT, "num_hidden_layers": 2, "max_position_embeddings": 66, "type_vocab_size": 1}
SMALL = {"dim": 64, "heads": 4, "feedforward": 128}
BRANCHES = {**SMALL, "backbone": "resnet50", "image_size": 128, "visual_layers": 2, "joint_layers": 2,
            "max_tokens": 12, "text": BERT, "text_layer": 3}  # fmt: skip


def filled(model, fixture):
    load_strictly(model, fixture.state, "fixture")
    return model.eval()


@pytest.mark.parametrize(
    ("name", "options"), [("mdetr", {"queries": 10}), ("mdetr_cls", {"queries": 7, "contrastive": True})]
)
def test_mdetr_forward(parity, name, options):
    fixture = Fixture(parity / name)
    sizes = {**SMALL, "backbone": "resnet18", "encoder_layers": 2, "decoder_layers": 2, "text": ROBERTA}
    model = filled(MDETR(MDETROptions(**sizes, **options)), fixture)
    batch, wanted = fixture.batch(), fixture.outputs
    with torch.inference_mode():
        features = model.backbone(batch.images)
        found = model(batch)
        answer, scores, _ = model.predict(batch)
    close(features, wanted["backbone_features"])
    assert torch.equal(resize_mask(batch.padding_mask, features.shape[-2:]), wanted["feature_mask"].bool())
    for prefix, layer in (("", found.layers[-1]), ("aux0.", found.layers[0])):
        close(layer.logits, wanted[f"{prefix}pred_logits"])
        close(layer.boxes, wanted[f"{prefix}pred_boxes"])
        close(layer.queries, wanted[f"{prefix}proj_queries"])
    close(found.layers[-1].tokens, wanted["proj_tokens"])
    best = wanted["post.scores"].argmax(1)
    sizes = fixture.inputs["target_sizes"].flip(1).repeat(1, 2).float()
    close(answer * sizes, wanted["post.boxes"][torch.arange(len(best)), best])
    close(scores, wanted["post.scores"].max(1).values)


@pytest.mark.parametrize("name", ["mdetr", "mdetr_loss_quirk"])
def test_mdetr_losses_and_their_gradients(parity, name):
    i, o = (load_file(parity / name / f"loss_{part}.safetensors") for part in ("inputs", "outputs"))
    leaves = {k: v.clone().requires_grad_() for k, v in i.items() if k.split(".")[-1].startswith(("pred_", "proj_"))}
    targets = [i["target0.boxes"], i["target1.boxes"]]
    positive = i["positive_map"].float()
    total = torch.tensor(0.0)
    for prefix, suffix in (("", ""), ("aux0.", "_0")):
        layer = Layer(leaves[f"{prefix}pred_logits"], leaves[f"{prefix}pred_boxes"],
                      leaves[f"{prefix}proj_queries"], leaves["proj_tokens"])  # fmt: skip
        matching = match(layer, targets, positive)
        ours = aligned_tokens(matching, list(positive.split([len(t) for t in targets])), layer)
        theirs = o["contrastive_positive_map"].bool() if not prefix else None
        if theirs is not None:
            for row, (queries, which) in enumerate(matching):
                assert torch.equal(queries, o[f"match{row}.query"]) and torch.equal(which, o[f"match{row}.target"])
            if name == "mdetr":
                assert torch.equal(ours, theirs)
            else:  # the official look-up reads another text's table; ours has the span's own tokens
                assert not torch.equal(ours, theirs) and (ours | theirs).equal(ours)
        elif name == "mdetr_loss_quirk":
            theirs = ours & ours.new_tensor([True, True])[:, None, None]
            theirs[1, :, 4] = False
        found = layer_losses(layer, targets, positive, theirs)
        for term, key in (("ce", "loss_ce"), ("bbox", "loss_bbox"), ("giou", "loss_giou"),
                          ("contrastive_align", "loss_contrastive_align")):  # fmt: skip
            close(found[term], o[f"loss.{key}{suffix}"])
        total = total + sum(LOSS_WEIGHTS[term] * value for term, value in found.items())
    close(total, o["loss.total_weighted"])
    total.backward()
    for key, leaf in leaves.items():
        if f"grad.{key}" in o:
            close(leaf.grad, o[f"grad.{key}"])


def test_alignment_of_nothing_is_zero():
    unit = nn.functional.normalize(torch.randn(2, 3, 4), dim=-1)
    assert float(align_loss(unit, unit, torch.zeros(2, 3, 3, dtype=torch.bool))) == 0


def test_transvg_forward_and_losses(parity):
    fixture = Fixture(parity / "transvg")
    model = filled(TransVG(TransVGOptions(**BRANCHES)), fixture)
    batch, wanted = fixture.batch(), fixture.outputs
    with torch.inference_mode():
        close(
            model.visumodel(model.visumodel.backbone(batch.images), batch.padding_mask)[0],
            wanted["visu_memory"].transpose(0, 1),
        )
        close(model.textmodel(batch.tokens.ids, batch.tokens.padding_mask), wanted["text_features"])
        found = model(batch)
    close(found, wanted["pred_box"])
    losses = box_losses(found, from_cxcywh(fixture.inputs["target_box"]))
    close(losses["bbox"], wanted["loss_bbox"])
    close(losses["giou"], wanted["loss_giou"])


@pytest.mark.parametrize(
    ("name", "options"),
    [("dynamic_mdetr_resnet", {}), ("dynamic_mdetr_resnet_uniform", {"uniform_grid": True, "shared_stages": True})],
)
def test_dynamic_mdetr_forward(parity, name, options):
    fixture = Fixture(parity / name)
    model = filled(
        DynamicMDETR(DynamicMDETROptions(**{**BRANCHES, "points": 9, "stage_loss": True, **options})), fixture
    )
    with torch.inference_mode():
        boxes, point_logits = model.regress(fixture.batch())[:2]
    assert not point_logits
    for stage, box in enumerate(boxes):
        close(box, fixture.outputs[f"stage{stage}.box"])
    close(boxes[-1], fixture.outputs["pred_box"])


def tiny_clip_options():
    return DynamicMDETRClipOptions(
        clip={
            "embed_dim": 64,
            "quick_gelu": True,
            "vision_cfg": {"layers": 2, "width": 128, "patch_size": 16},
            "text_cfg": {"context_length": 16, "vocab_size": 400, "width": 64, "heads": 1, "layers": 2},
        },
        image_size=64, heads=4, feedforward=128, joint_layers=2, points=9, max_tokens=10,
    )  # fmt: skip


def test_dynamic_mdetr_over_clip_forward(parity):
    fixture = Fixture(parity / "dynamic_mdetr_clip")
    model = filled(DynamicMDETRClip(tiny_clip_options()), fixture)
    batch, wanted = fixture.batch(), fixture.outputs
    with torch.inference_mode():
        tokens, mask = model.encode_text(batch.tokens.ids)
        close(dense_tokens(model.clip.visual, batch.images, "tokens").flatten(1, 2), wanted["visual_tokens"])
        close(model(batch), wanted["pred_box"])
    close(tokens, wanted["text_features"])
    assert torch.equal(mask, wanted["text_mask"].bool())
    table = load_file(parity / "dynamic_mdetr_clip" / "pos_embed_enlarge.safetensors")
    close(resize_positions(table["positional_embedding_in"], (40, 40)), table["positional_embedding_out"])


def test_efficientnet_backbone_and_positions(parity):
    fixture = Fixture(parity / "mdetr_efficientnet_b3_backbone")
    model = backbone("efficientnet_b3")
    load_strictly(model, {k: v for k, v in fixture.state.items() if not k.endswith(DROPPED_SUFFIXES)}, "fixture")
    with torch.inference_mode():
        found = model.eval()(fixture.inputs["images"])
    close(found, fixture.outputs["features"], 1e-4)
    padding = resize_mask(fixture.inputs["image_mask"].bool(), found.shape[-2:])
    close(sine_positions(padding, 64), fixture.outputs["pos_embed_2d"])


@pytest.mark.parametrize(
    ("name", "cls", "file"),
    [
        ("mdetr", MDETR, "mdetr/full_keys_resnet101_refcocog.json"),
        ("mdetr", MDETR, "mdetr/full_keys_efficientnet_b3_refcocog.json"),
        ("transvg", TransVG, "transvg/full_keys_resnet50_refcocog.json"),
        ("transvg", TransVG, "transvg/full_keys_resnet101_refcocog.json"),
        ("dynamic-mdetr", DynamicMDETR, "dynamic_mdetr_resnet/full_keys_resnet50_refcocog.json"),
        ("dynamic-mdetr", DynamicMDETRClip, "dynamic_mdetr_clip/full_keys_clip_vit_b16.json"),
    ],
)
def test_full_size_networks_take_the_official_keys(parity, name, cls, file):
    official = full_keys(parity / file)
    state = {k: v for k, v in official.items() if not k.endswith(DROPPED_SUFFIXES)}
    sizes = SIZE_READERS[name](state, {})
    sizes.pop("model", None)
    with torch.device("meta"):
        model = cls(cls.Options(**sizes))
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in state.items()}
    dropped = official.keys() - state.keys()
    assert all(k.endswith("position_ids") for k in dropped if not k.endswith("num_batches_tracked"))
    count = json.loads((parity / file).read_text())["n_elements_float"]
    assert sum(v.numel() for k, v in official.items() if v.is_floating_point()) == count
