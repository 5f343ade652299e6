"""A frozen CLIP gives networks what its encoder gives everybody."""

import copy

import numpy as np
import pytest

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
