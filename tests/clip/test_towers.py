"""What is added to open_clip's towers: other image sizes, dense and token features."""

import pytest
import torch

from vg_gym.clip.towers import dense_tokens, embed_image, resize_positions, text_tokens
from vg_gym.errors import VGGymError


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_positions_of_the_own_grid_stay():
    table = torch.randn(10, 4)
    assert resize_positions(table, (3, 3)) is table
    assert torch.equal(resize_positions(table[:7], (2, 3), (2, 3)), table[:7])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_slope_stays_a_slope_and_the_class_token_stays(mode, antialias):
    rows = torch.arange(6.0).repeat_interleave(6)  # rises by 1 a row, so by 1/2 a row of a grid twice as fine
    table = torch.cat([torch.tensor([[99.0]]), rows[:, None]])
    found = resize_positions(table, (12, 12), mode=mode, antialias=antialias)
    assert found[0] == 99
    inner = found[1:].view(12, 12)[4:8]
    torch.testing.assert_close(inner.diff(dim=0), torch.full((3, 12), 0.5), atol=0.1, rtol=0)


def test_antialiasing_averages_where_the_grid_shrinks():
    stripes = torch.tensor([0.0, 0.0, 1.0]).repeat(12 * 4)[:, None]  # 12 x 12, every third column 1
    table = torch.cat([torch.zeros(1, 1), stripes])
    plain, smooth = (resize_positions(table, (4, 4), mode="bilinear", antialias=a)[1:] for a in (False, True))
    assert not plain.any()  # only the middle column of each three is looked at
    torch.testing.assert_close(smooth, torch.full((16, 1), 1 / 3), atol=0.12, rtol=0)


@torch.inference_mode()
def test_the_own_size_is_open_clip_s_own_number(tiny_clip, pixels):
    visual = tiny_clip.model.visual
    torch.testing.assert_close(embed_image(visual, pixels), visual(pixels), atol=1e-6, rtol=0)


@torch.inference_mode()
def test_other_sizes_have_other_grids(tiny_clip, pixels):
    visual = tiny_clip.model.visual
    assert dense_tokens(visual, pixels, "tokens").shape == (2, 4, 4, 16)
    assert dense_tokens(visual, pixels[..., :32, :32], "maskclip").shape == (2, 2, 2, 16)
    assert embed_image(visual, pixels[..., :32, :32]).shape == (2, 16)


@torch.inference_mode()
def test_the_end_token_carries_the_text(tiny_clip):
    ids = tiny_clip.tokenizer(["the red star", "the shape"])
    features, mask = text_tokens(tiny_clip.model, ids)
    end = ids.argmax(dim=-1)
    torch.testing.assert_close(features[torch.arange(2), end], tiny_clip.model.encode_text(ids), atol=1e-5, rtol=0)
    assert mask.sum(dim=1).tolist() == (end + 1).tolist() == [5, 4]


def test_other_towers_are_refused(pixels):
    with pytest.raises(VGGymError, match="no dense features from a Linear"):
        dense_tokens(torch.nn.Linear(2, 2), pixels, "tokens")
