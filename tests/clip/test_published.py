"""Published weights run with the activation, and on the pixels, that their own configs state."""

import json
import warnings

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from vg_gym.clip.finetuning.model import save_model
from vg_gym.clip.loader import forget_clips, load_clip
from vg_gym.clip.published import CONFIG, PREPROCESS_KEYS, build
from vg_gym.errors import VGGymError

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""Sizes that stand for those of a published architecture."""
PAIRS = open_clip.list_pretrained()


class Recorder(torch.nn.Module):
    """Stands for a network: keeps the config that open_clip builds it with."""

    def __init__(self, **config):
        super().__init__()
        self.config, self.visual = config, torch.nn.Module()
        self.visual.image_size = config["vision_cfg"]["image_size"]


@pytest.fixture
def recorded(monkeypatch):
    """Open_clip without networks, downloads and tokenizers."""
    for name in ("CLIP", "CustomTextCLIP", "CoCa"):
        monkeypatch.setattr(open_clip.factory, name, Recorder)
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda config, **_: "weights.pt")
    monkeypatch.setattr(open_clip.factory, "load_checkpoint", lambda *_, **__: None)
    monkeypatch.setattr(open_clip, "get_tokenizer", lambda name: name)


@pytest.fixture
def small(monkeypatch):
    """Every architecture at small sizes."""
    known = dict(open_clip.factory._MODEL_CONFIGS)
    for name in ("ViT-B-32", "ViT-B-32-quickgelu"):
        quick = {"quick_gelu": True} if name.endswith("quickgelu") else {}
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, {**SMALL, **quick})
    forget_clips()
    yield known
    forget_clips()


@pytest.fixture
def network(small):
    """A small network with QuickGELU."""
    torch.manual_seed(0)
    return open_clip.create_model("ViT-B-32-quickgelu", load_weights=False).eval()


def downloaded(monkeypatch, path):
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda config, **_: str(path))


def is_quick(model):
    return any(isinstance(module, open_clip.transformer.QuickGELU) for module in model.modules())


@pytest.mark.parametrize(("architecture", "tag"), PAIRS)
@pytest.mark.filterwarnings("ignore:QuickGELU mismatch.*'laion2b_s12b_b32k':UserWarning")
def test_every_tag_has_the_activation_and_the_pixels_of_its_config(recorded, architecture, tag):
    wanted, own = open_clip.get_pretrained_cfg(architecture, tag), open_clip.get_model_config(architecture)
    model, tokenizer, config = build(f"{architecture}:{tag}")
    quick_gelu = wanted.get("quick_gelu", own.get("quick_gelu", False))
    assert bool(model.config.get("quick_gelu", False)) == config["quick_gelu"] == quick_gelu
    described = model.visual.preprocess_cfg
    for name in PREPROCESS_KEYS:
        assert tuple(described[name]) == tuple(wanted[name]), name
    assert described["size"] == wanted.get("size", own["vision_cfg"]["image_size"])
    assert tokenizer == architecture


def test_a_network_of_openai_has_quick_gelu_and_so_has_its_fine_tuned_copy(network, monkeypatch, tmp_path, rng):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    downloaded(monkeypatch, tmp_path / "weights.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip = load_clip("ViT-B-32:openai")
    plain = load_clip("ViT-B-32:laion2b_s34b_b79k")
    assert is_quick(clip.model) and not is_quick(plain.model) and plain.fingerprint != clip.fingerprint
    ids = open_clip.get_tokenizer("ViT-B-32")(["a dog"])
    wanted = network.encode_text(ids, normalize=True).detach().numpy()
    np.testing.assert_allclose(clip.encode_text(["a dog"]), wanted, atol=1e-6)
    save_model(clip, tmp_path / "tuned")
    again = load_clip(str(tmp_path / "tuned"))
    assert is_quick(again.model) and json.loads((tmp_path / "tuned" / CONFIG).read_text())["model_cfg"]["quick_gelu"]
    np.testing.assert_allclose(again.encode_text(["a dog"]), wanted, atol=1e-2)


def test_slashes_in_an_architecture_are_dashes(network, monkeypatch, tmp_path):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    downloaded(monkeypatch, tmp_path / "weights.pt")
    assert load_clip("ViT-B/32:openai").config["quick_gelu"]


def test_pixels_are_resized_and_normalised_as_the_tag_says_and_saved_so(network, monkeypatch, tmp_path, rng):
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    downloaded(monkeypatch, tmp_path / "weights.pt")
    described = {"mean": (0.0, 0.1, 0.2), "std": (1.0, 0.9, 0.8), "interpolation": "bilinear", "resize_mode": "squash"}
    monkeypatch.setattr(open_clip.factory, "get_pretrained_cfg", lambda *_: {**described, "quick_gelu": True})
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {**described, "quick_gelu": True})
    clip = load_clip("ViT-B-32:openai")
    image = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**clip.model.visual.preprocess_cfg), is_train=False
    )
    wanted = network.encode_image(transform(Image.fromarray(image))[None], normalize=True).detach().numpy()
    np.testing.assert_allclose(clip.encode_crops([image]), wanted, atol=1e-5)
    save_model(clip, tmp_path / "tuned")
    again = load_clip(str(tmp_path / "tuned"))
    for name in PREPROCESS_KEYS:
        assert tuple(again.model.visual.preprocess_cfg[name]) == tuple(described[name])
    assert again.interpolation == "bilinear"


def test_a_file_runs_as_its_architecture_is_named_and_says_so_where_that_may_be_wrong(network, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(network.state_dict(), path)
    assert is_quick(load_clip(f"ViT-B-32-quickgelu:{path}").model)
    with pytest.warns(UserWarning, match="runs with GELU; if these weights are OpenAI's.*ViT-B-32-quickgelu:"):
        assert not is_quick(load_clip(f"ViT-B-32:{path}").model)


def test_a_config_beside_a_file_decides(network, tmp_path):
    described = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / CONFIG).write_text(json.dumps({"model_cfg": {"quick_gelu": True}, "preprocess_cfg": described}))
    clip = load_clip(f"ViT-B-32:{tmp_path / 'weights.pt'}")
    assert is_quick(clip.model) and clip.config["quick_gelu"] and clip.interpolation == "bilinear"
    assert list(clip.model.visual.preprocess_cfg["mean"]) == [0.5] * 3


def test_openais_own_tensors_mean_quick_gelu_and_its_archive_is_named(network, tmp_path):
    extras = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    state = {**network.half().state_dict(), **{name: torch.tensor(value) for name, value in extras.items()}}
    torch.save(state, tmp_path / "weights.pt")
    clip = load_clip(f"ViT-B-32:{tmp_path / 'weights.pt'}")
    assert is_quick(clip.model) and clip.config["quick_gelu"]
    assert next(clip.model.parameters()).dtype == torch.float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own format deprecated
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "archive.pt"))
    with pytest.raises(VGGymError, match="is a TorchScript archive, as OpenAI releases CLIP: give ViT-B-32:openai"):
        load_clip(f"ViT-B-32:{tmp_path / 'archive.pt'}")


def test_a_file_has_the_pixels_of_the_published_weights_of_its_architecture(recorded, monkeypatch, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    for architecture in ("MobileCLIP-B", "ViT-H-14-CLIPA", "ViT-B-16-SigLIP"):
        (tag,) = open_clip.list_pretrained_tags_by_model(architecture)[:1]
        wanted = open_clip.get_pretrained_cfg(architecture, tag)
        model, _, _ = build(f"{architecture}:{path}")
        assert all(tuple(model.visual.preprocess_cfg[name]) == tuple(wanted[name]) for name in PREPROCESS_KEYS)


def test_a_repository_of_the_hub_is_described_by_its_own_config(network, monkeypatch, tmp_path):
    torch.save(network.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    described = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    saved = {"model_cfg": {**SMALL, "quick_gelu": True}, "preprocess_cfg": described}
    (tmp_path / CONFIG).write_text(json.dumps(saved))

    def fetch(repository, filename=None, **_):
        return str(tmp_path / (filename or "open_clip_pytorch_model.bin"))

    monkeypatch.setattr(open_clip.factory, "download_pretrained_from_hf", fetch)
    clip = load_clip("hf-hub:someone/a-clip")
    assert is_quick(clip.model) and clip.config["quick_gelu"] and clip.interpolation == "bilinear"
    assert list(clip.model.visual.preprocess_cfg["std"]) == [0.25] * 3


def test_an_empty_checkpoint_is_named(tmp_path):
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(VGGymError, match="cannot load clip 'ViT-B-32-quickgelu:"):
        load_clip(f"ViT-B-32-quickgelu:{tmp_path / 'weights.pt'}")
