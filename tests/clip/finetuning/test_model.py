"""Where fine-tuning starts, what it freezes, how a CLIP is saved."""

import copy

import pytest
import torch

from tests.tiny_clip import TINY
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.clip.finetuning.model import freeze, save_model, starting_encoder, with_model
from vg_gym.clip.loader import load_clip
from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.errors import VGGymError


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_only_the_last_blocks_and_what_follows_them_are_trained(tiny_clip):
    model = copy.deepcopy(tiny_clip.model)
    freeze(model, 1, -1)
    image = {name for name in trained(model) if name.startswith("visual.")}
    assert image and all(
        name.startswith(("visual.transformer.resblocks.1.", "visual.ln_post", "visual.proj")) for name in image
    )
    assert "token_embedding.weight" in trained(model)
    freeze(model, 0, 0)
    assert trained(model) == {"logit_scale"}


def test_a_tower_without_blocks_is_named(tiny_clip):
    model = copy.deepcopy(tiny_clip.model)
    del model.visual.transformer
    with pytest.raises(VGGymError, match="train_image_blocks=2: this tower has no blocks; use -1"):
        freeze(model, 2, -1)


def test_saved_and_loaded(tiny_clip, tmp_path):
    save_model(tiny_clip, tmp_path / "model")
    again = load_clip(str(tmp_path / "model"))
    assert (again.config, again.crop_size, again.dense, again.words) == (TINY, 32, "tokens", tiny_clip.words)
    for name, value in tiny_clip.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value.half().to(value.dtype), rtol=0, atol=0)


def test_a_start_is_a_copy_with_the_options_asked_for(tiny_clip, tmp_path):
    save_model(tiny_clip, tmp_path / "model")
    loaded = load_clip(str(tmp_path / "model"))
    start = starting_encoder(ClipTrainConfig(clip=str(tmp_path / "model"), crop_size=48, dense="maskclip"), "cpu", list)
    assert (start.crop_size, start.dense) == (48, "maskclip") and start.model is not loaded.model
    assert trained(start.model) == {name for name, _ in loaded.model.named_parameters()}


def test_other_weights_are_encoded_anew(tiny_clip):
    model = copy.deepcopy(tiny_clip.model)
    torch.nn.init.normal_(model.text_projection)
    before, after = tiny_clip.encode_text(["a ring"]), with_model(tiny_clip, model).encode_text(["a ring"])
    assert abs(before - after).max() > 0.1


def test_a_vocabulary_that_does_not_fit_is_named():
    sizes = copy.deepcopy(TINY)
    sizes["text_cfg"]["vocab_size"] = 3
    with pytest.raises(VGGymError, match="vocab_size is 3, the vocabulary has"):
        starting_encoder(ClipTrainConfig(model=sizes), "cpu", vocabulary)
