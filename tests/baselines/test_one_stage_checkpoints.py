"""Published checkpoints: sizes read off their shapes, whatever they are; nothing in them runs."""

import argparse
import pickle

import open_clip
import pytest
import torch

from tests.baselines.test_one_stage import config
from vg_gym import registry
from vg_gym.baselines.one_stage.checkpoints import load_published, read_checkpoint
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch
from vg_gym.learned.grounder_learner import init_from_weights
from vg_gym.learned.model import build
from vg_gym.learned.tokenization import Tokens

TEXT = {"vocab_size": 50, "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 80, "max_position_embeddings": 40, "type_vocab_size": 1}  # fmt: skip
BRANCHES = {"backbone": "resnet18", "image_size": 96, "dim": 32, "heads": 4, "feedforward": 40, "visual_layers": 1,
            "joint_layers": 2, "vl_dim": 48, "vl_heads": 3, "vl_feedforward": 56, "max_tokens": 7, "text": TEXT,
            "text_layer": 2}  # fmt: skip
STAGES = {"stages": 2, "points": 4, "stage_encoder_layers": 2, "stage_decoder_layers": 3}
CLIP = {"embed_dim": 64, "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 1, "width": 128, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}}  # fmt: skip
NETWORKS = {
    "mdetr": {"backbone": "resnet18", "dim": 32, "heads": 4, "feedforward": 40, "encoder_layers": 2,
              "decoder_layers": 3, "queries": 5, "contrastive": True, "contrastive_dim": 24, "max_tokens": 38,
              "text": TEXT},
    "transvg": BRANCHES,
    "dynamic-mdetr": {**BRANCHES, **STAGES},
    "dynamic-mdetr shared": {**BRANCHES, **STAGES, "uniform_grid": True, "shared_stages": True},
    "dynamic-mdetr-clip": {**STAGES, "clip": CLIP, "image_size": 64, "heads": 4, "feedforward": 72, "joint_layers": 1,
                           "max_tokens": 9},
}  # fmt: skip
UNREADABLE = {
    "mdetr": {"heads": 4, "text": {"num_attention_heads": 3}},
    "transvg": {"heads": 4, "vl_heads": 3, "text": {"num_attention_heads": 3}, "max_tokens": 7},
    "dynamic-mdetr": {"heads": 4, "vl_heads": 3, "text": {"num_attention_heads": 3}, "image_size": 96},
    "dynamic-mdetr-clip": {"heads": 4},
}
"""Heads, and one of the two that the table of positions is the sum of."""


def batch_of(size, length):
    """Two images and two expressions of random tokens; the second is shorter."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 40, (2, length), generator=generator)
    ids[0, -1] = ids[1, -3] = 49  # a CLIP's end token has the highest id
    mask = torch.zeros(2, length, dtype=torch.bool)
    mask[1, -2:] = True
    padding_mask = torch.zeros(2, size, size, dtype=torch.bool)
    padding_mask[1, size // 2 :] = True
    images = torch.randn(2, 3, size, size, generator=generator).masked_fill(padding_mask[:, None], 0.0)
    frames = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.5]])
    return Batch(images, padding_mask, frames, torch.arange(2), Tokens(ids, mask, ~mask))


@pytest.mark.parametrize("case", NETWORKS)
def test_sizes_are_read_off_the_shapes(tmp_path, case):
    """Every width and depth differs from the published one and from its neighbours."""
    name = case.split()[0]
    torch.manual_seed(0)
    model = build(name, NETWORKS[case]).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "own.pth")
    again = load_published(name, tmp_path / "own.pth", **UNREADABLE[name])
    assert {k: v for k, v in vars(again.options).items() if k in NETWORKS[case] and k != "text"} == {
        k: v for k, v in NETWORKS[case].items() if k != "text"
    }
    batch = batch_of(64, 12) if name == "dynamic-mdetr-clip" else batch_of(96, 7)
    with torch.inference_mode():
        for found, wanted in zip(again.predict(batch)[:2], model.predict(batch)[:2], strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)  # without a head no score


def test_the_official_layout_of_two_widths():
    """``hidden_dim`` 32 up to the projections, ``vl_hidden_dim`` 48 behind them."""
    shapes = {k: tuple(v.shape) for k, v in build("dynamic-mdetr", NETWORKS["dynamic-mdetr"]).state_dict().items()}
    for key, shape in {
        "visumodel.input_proj.weight": (32, 512, 1, 1),
        "visumodel.transformer.encoder.layers.0.linear1.weight": (40, 32),
        "visu_proj.weight": (48, 32),
        "text_proj.weight": (48, 48),
        "vl_pos_embed.weight": (9 + 7, 48),
        "vl_encoder.encoder.layers.1.linear1.weight": (56, 48),
        "vl_transformer.1.encoder.layers.1.linear1.weight": (56, 48),
        "vl_transformer.1.decoder.layers.2.multihead_attn.in_proj_weight": (144, 48),
        "update_sampling_queries.1.layers.0.weight": (48, 96),
        "offset_generators.1.weight": (8, 48),
        "bbox_embed.layers.2.weight": (4, 48),
    }.items():
        assert shapes[key] == shape, key


@pytest.mark.parametrize("known", [{}, {"image_size": 64, "max_tokens": 7}, {"max_tokens": 10}])
def test_positions_that_nothing_explains(tmp_path, known):
    torch.save(build("transvg", BRANCHES).state_dict(), tmp_path / "own.pth")
    with pytest.raises(VGGymError, match="16 positions.*give the image_size or the max_tokens"):
        load_published("transvg", tmp_path / "own.pth", **known)


def test_heads_that_do_not_divide_a_width():
    with pytest.raises(VGGymError, match="width of 48 cannot be split into 5 heads"):
        build("transvg", {**BRANCHES, "vl_heads": 5})


def test_as_the_official_repositories_write_them(tmp_path):
    """EMA, DDP prefix, arguments, the old text encoder's positions."""
    sizes = {"backbone": "resnet18", "dim": 64, "feedforward": 64, "encoder_layers": 1, "decoder_layers": 1,
             "queries": 7, "text": {**TEXT, "hidden_size": 64, "num_attention_heads": 1}}  # fmt: skip
    state = build("mdetr", sizes).state_dict()
    old = {"transformer.text_encoder.embeddings.position_ids": torch.arange(40)[None]}
    average = {f"module.{k}": v + 1 if v.is_floating_point() else v for k, v in {**state, **old}.items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": state, "model_ema": average, "args": argparse.Namespace(lr=1), "epoch": 3}, path)
    read = read_checkpoint(path)
    assert read.keys() == state.keys()
    torch.testing.assert_close(read["query_embed.weight"], state["query_embed.weight"] + 1)
    model = load_published("mdetr", path)
    assert model.options.queries == 7 and model.options.backbone == "resnet18"
    begun = build("mdetr", sizes)
    init_from_weights(begun, str(path), config(tmp_path, "mdetr", options={}))
    torch.testing.assert_close(begun.state_dict(), model.state_dict())
    with pytest.raises(VGGymError, match="not the checkpoint of this model.*of another shape"):
        load_published("mdetr", path, dim=128)
    with pytest.raises(VGGymError, match="is not a checkpoint of transvg"):
        registry.grounder("transvg", weights=str(path))
    with pytest.raises(VGGymError, match="no file nowhere.pth: download it"):
        registry.grounder("mdetr", weights="nowhere.pth")


def test_the_published_clip_is_recognised():
    """Of the keys of OpenAI's ViT-B/16, without its weights."""
    from vg_gym.baselines.one_stage.checkpoint_sizes import SIZE_READERS

    with torch.device("meta"):
        state = build("dynamic-mdetr-clip", {}).state_dict()
    sizes, wanted = SIZE_READERS["dynamic-mdetr"](state, {}), open_clip.get_model_config("ViT-B-16-quickgelu")
    assert sizes["model"] == "dynamic-mdetr-clip" and sizes["image_size"] == 640 and sizes["max_tokens"] == 40
    assert sizes["clip"]["text_cfg"] == wanted["text_cfg"] and sizes["clip"]["embed_dim"] == wanted["embed_dim"]
    assert sizes["clip"]["vision_cfg"] == {**wanted["vision_cfg"], "image_size": 640}


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_checkpoints_run_no_code(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"model": {"a": torch.zeros(1)}, "args": Evil()}, path)
    with pytest.raises(VGGymError, match="contains objects other than tensors"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(VGGymError, match="contains objects other than tensors"):
        read_checkpoint(path)
    assert "run" not in capsys.readouterr().out
