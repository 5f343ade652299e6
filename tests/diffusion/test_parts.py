"""Parts of the denoisers: the frozen CLIP, the trunk, the heads."""

import copy

import numpy as np
import pytest
import torch

from vg_gym.diffusion.layers import Attention, FiLM, grid_embedding, sinusoidal_embedding
from vg_gym.diffusion.model import content_key
from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.roi import Head
from vg_gym.diffusion.trunk import FusedFeatures
from vg_gym.learned.frozen_clip import FrozenClip


@pytest.fixture
def clip(tiny_clip, monkeypatch):
    monkeypatch.setattr("vg_gym.learned.frozen_clip.load_clip", lambda name, device="cpu": tiny_clip)
    return FrozenClip("tiny")


def test_features_are_the_encoder_s(clip, shapes):
    images = [shapes[0].query.image.array(), shapes[4].query.image.array()]
    small = [np.ascontiguousarray(image[::2, ::2]) for image in images]  # the tiny model's own size
    pixels, _, frames = clip.canvas.place(small)
    assert frames.tolist() == [[0, 0, 1, 1]] * 2
    np.testing.assert_allclose(
        clip.encode_dense(pixels).permute(0, 2, 3, 1), clip.encoder.encode_dense(small), atol=1e-5
    )
    assert clip.encode_image(pixels).shape == (2, clip.encoder.dim)
    texts = [shapes[0].query.expression, "the small red cross left of the blue heart"]
    features = clip.encode_text(clip.tokenize(texts))
    np.testing.assert_allclose(features.expression, clip.encoder.encode_text(texts), atol=1e-5)
    length = features.tokens.shape[1]
    assert length == 2 + 9 and features.attention_mask[1].all() and not features.attention_mask[0].all()
    theirs = clip.encoder.encode_tokens(texts)[:, :length]
    np.testing.assert_allclose(features.tokens * features.attention_mask[..., None], theirs, atol=1e-5)


def test_a_copy_shares_the_clip(clip):
    assert copy.deepcopy({"model": clip})["model"] is clip


def test_content_keys():
    a = torch.arange(12.0).view(3, 4)
    assert content_key(a) == content_key(a.clone()) != content_key(a + 1)
    assert content_key(a.T) == content_key(a.T.contiguous())


def test_attention_ignores_what_is_not_there():
    torch.manual_seed(0)
    attention, x = Attention(16, 2), torch.randn(2, 5, 16)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = attention(x, attention.keys_values(x), mask)
    alone = attention(x[1:], attention.keys_values(x[1:, :3]))
    torch.testing.assert_close(found[1:], alone)


def test_film_begins_as_nothing():
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(FiLM(4, 8)(x, torch.randn(2, 4)), x)


def test_codes_tell_places_apart():
    assert sinusoidal_embedding(torch.rand(3, 4), 8, 64.0).shape == (3, 4, 16)
    code = grid_embedding(4, 5, 32, torch.zeros(1))
    assert code.shape == (20, 32) and len(torch.unique(code, dim=0)) == 20


def test_a_head_takes_features_from_under_its_boxes():
    o = BoxDiffusionOptions(dim=16, heads=2, channels=2, roi=3, context=1.0)
    head = Head(o)
    ramp = (torch.arange(32) + 0.5) / 32
    maps = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32)])[None]  # x and y
    found = head._features_under(maps, torch.tensor([[[0.5, 0.4, 0.3, 0.6], [0.5, 0.5, 0.0, 0.0]]])).view(1, 2, 2, 3, 3)
    torch.testing.assert_close(found[0, 0, 0, 0], torch.tensor([0.4, 0.5, 0.6]))
    torch.testing.assert_close(found[0, 0, 1, :, 0], torch.tensor([0.2, 0.4, 0.6]))
    assert found.isfinite().all()


def test_a_head_may_leave_its_box():
    """With the gate shut the answer does not depend on where the box is, but for its features."""
    o = BoxDiffusionOptions(dim=16, heads=2, channels=2, roi=3)
    torch.manual_seed(0)
    head = Head(o)
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.copy_(torch.tensor([0.0] * 4 + [0.0, 0.0, -2.0, -2.0] + [-50.0] * 4 + [0.0]))
    mask = torch.ones(1, 3, dtype=torch.bool)
    features = FusedFeatures(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 16), mask, torch.zeros(1, 16))
    boxes = torch.tensor([[[0.0, 0.0, 0.1, 0.1], [0.8, 0.8, 0.9, 0.9]]])
    inputs = (features, head.across.keys_values(features.memory), boxes, torch.zeros(1, 2, 16), torch.zeros(1, 16))
    side = torch.tensor(-2.0).sigmoid() / 2
    expected = torch.stack([0.5 - side, 0.5 - side, 0.5 + side, 0.5 + side]).expand(1, 2, 4)
    torch.testing.assert_close(head(*inputs)[0], expected)
    with torch.no_grad():
        head.out.bias[8:12] = 50.0  # the gate open, and no moves: boxes stay
    torch.testing.assert_close(head(*inputs)[0], boxes)
