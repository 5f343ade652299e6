"""Region attention: the published numbers, and what must hold for every tower."""

import json

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file

from vg_gym.clip.region_attention import OUTSIDE_BIAS, attention_bias, encode_segments, pool_regions
from vg_gym.clip.region_features import l2_normalize
from vg_gym.clip.towers import resize_positions
from vg_gym.errors import VGGymError

PUBLISHED = ("vit_patch16_up2", "vit_patch32_up1")


def vit(width=64, layers=2, patch=16, size=64, dim=16, head_width=32, seed=0, **more):
    torch.manual_seed(seed)
    config = open_clip.model.CLIPVisionCfg(
        layers=layers, width=width, head_width=head_width, patch_size=patch, image_size=size, **more
    )
    return open_clip.model._build_vision_tower(dim, config, quick_gelu=True).eval()


def resnet(seed=0):
    torch.manual_seed(seed)
    tower = open_clip.modified_resnet.ModifiedResNet((1, 1, 1, 1), output_dim=24, heads=4, image_size=64, width=8)
    return tower.eval()


def whole(count, side):
    return torch.ones(1, count, side, side, dtype=torch.bool)


def random_masks(count, side, batch=1, seed=0):
    return torch.rand(batch, count, side, side, generator=torch.Generator().manual_seed(seed)) > 0.5


def random_pixels(side, batch=1, seed=1):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=PUBLISHED)
def published(request, parity):
    folder = parity / "adapting_clip" / request.param
    config = json.loads((folder / "meta.json").read_text())["config"]
    return config, *(load_file(folder / f"{name}.safetensors") for name in ("weights", "inputs", "outputs"))


def tower_of(config, weights):
    tower = vit(
        config["vision_width"], config["vision_layers"], config["patch_size"], config["image_resolution"],
        config["embed_dim"], config["vision_width"] // config["vision_heads"],
    )  # fmt: skip
    tower.load_state_dict({k.removeprefix("visual."): v for k, v in weights.items() if k.startswith("visual.")})
    return tower


@torch.inference_mode()
def test_published_embeddings(published):
    config, weights, inputs, outputs = published
    tower, masks = tower_of(config, weights), inputs["masks"][None]
    ours = pool_regions(tower, inputs["image"], masks, config["upsample"], config["start_block"])
    torch.testing.assert_close(ours, outputs["nohalf.region_embeddings"], rtol=0, atol=1e-4)


@torch.inference_mode()
def test_published_positions_and_bias(published):
    config, weights, inputs, outputs = published
    own = config["image_resolution"] // config["patch_size"]
    grid = own * config["upsample"]
    ours = resize_positions(weights["visual.positional_embedding"], (grid, grid), mode="bilinear")
    torch.testing.assert_close(ours, outputs["nohalf.positional_embedding_upsampled"], rtol=0, atol=1e-6)
    assert torch.equal(attention_bias(inputs["masks"][None], (grid, grid))[0], outputs["attn_bias"])


@torch.inference_mode()
def test_published_embeddings_with_positions_rounded_to_half(published):
    """The published class keeps positions in float16: given those, its own numbers come out."""
    config, weights, inputs, outputs = published
    tower = tower_of(config, weights)
    table = outputs["positional_embedding_upsampled"]
    side = round((len(table) - 1) ** 0.5)
    tower.positional_embedding, tower.grid_size = torch.nn.Parameter(table), (side, side)
    ours = pool_regions(tower, inputs["image"], inputs["masks"][None], config["upsample"])
    torch.testing.assert_close(ours, outputs["region_embeddings"], rtol=0, atol=1e-4)


TOWERS = {
    "plain": {},
    "query-key norms": {"qk_norm": True, "scale_attn": True},
    "no first norm": {"no_ln_pre": True},
    "layer scale": {"ls_init_value": 0.5},
    "last norm after pooling": {"final_ln_after_pool": True},
    "oblong": {"size": (64, 48)},
}


@pytest.mark.parametrize("name", TOWERS)
@torch.inference_mode()
def test_a_region_of_everything_is_the_image_vit(name):
    tower = vit(**TOWERS[name])
    height, width = tower.image_size
    pixels = torch.randn(2, 3, height, width)
    masks = torch.ones(2, 3, height, width, dtype=torch.bool)
    ours = pool_regions(tower, pixels, masks, padding=0)
    torch.testing.assert_close(ours, tower(pixels)[:, None].expand(-1, 3, -1), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_region_of_everything_is_the_image_resnet():
    tower = resnet()
    pixels = random_pixels(64, 2)
    ours = pool_regions(tower, pixels, whole(3, 64).expand(2, -1, -1, -1))
    torch.testing.assert_close(ours, tower(pixels)[:, None].expand(-1, 3, -1), rtol=0, atol=1e-5)
    assert pool_regions(tower, pixels, random_masks(4, 64, 2), upsample=2).shape == (2, 4, 24)


@pytest.mark.parametrize("tower", [vit(), vit(qk_norm=True), resnet()], ids=["vit", "custom-vit", "resnet"])
@torch.inference_mode()
def test_regions_do_not_see_each_other_nor_other_images(tower):
    pixels, masks = random_pixels(64, 3), random_masks(5, 64, 3)
    together = pool_regions(tower, pixels, masks)
    for image in range(3):
        for region in range(5):
            alone = pool_regions(tower, pixels[image, None], masks[image, region][None, None])
            torch.testing.assert_close(together[image, region], alone[0, 0], rtol=0, atol=1e-5)


@torch.inference_mode()
def test_only_the_own_pixels_matter_to_one_layer():
    """In one block without earlier mixing, what lies outside a region has no influence."""
    tower = vit(layers=1)
    masks = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    masks[..., :32, :32] = True
    pixels, changed = random_pixels(64), random_pixels(64)
    changed[..., 32:, :] += 1
    same, other = (pool_regions(tower, p, masks, padding=0) for p in (pixels, changed))
    assert torch.equal(same, other)
    changed[..., :32, :32] += 1
    assert not torch.allclose(same, pool_regions(tower, changed, masks, padding=0), atol=1e-3)


@pytest.mark.parametrize("tower", [vit(layers=1), resnet()], ids=["vit", "resnet"])
@torch.inference_mode()
def test_a_vanished_region_is_finite(tower):
    masks = torch.zeros(1, 2, 64, 64, dtype=torch.bool)
    masks[0, 0, 1, 1] = True
    ours = pool_regions(tower, random_pixels(64), masks)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours[0, 0], ours[0, 1])


@torch.inference_mode()
def test_start_block_upsample_and_other_sizes():
    tower, masks = vit(), random_masks(3, 64)
    assert pool_regions(tower, random_pixels(64), masks, upsample=4).shape == (1, 3, 16)
    assert pool_regions(tower, random_pixels(96), masks, padding=0).shape == (1, 3, 16)
    assert pool_regions(tower, torch.randn(1, 3, 64, 112), masks).shape == (1, 3, 16)
    early, late = (pool_regions(tower, random_pixels(64), masks, start_block=block) for block in (0, 1))
    assert not torch.allclose(early, late, atol=1e-3)
    # Copied after the last block, every region is the image.
    last = pool_regions(tower, random_pixels(64), masks, start_block=2, padding=0)
    torch.testing.assert_close(last, tower(random_pixels(64))[:, None].expand(-1, 3, -1), rtol=0, atol=1e-5)


def test_bias_by_hand():
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, :2], masks[0, 1, 3, 3] = True, True
    bias = attention_bias(masks, (2, 2))[0]
    o = OUTSIDE_BIAS
    assert bias.tolist() == [[0, 0, o, o, 0, o], [o, o, o, o, o, 0]]


def test_bicubic_positions_keep_the_class_token_and_constants():
    table = torch.ones(1 + 6, 4)
    table[0] = 7
    larger = resize_positions(table, (4, 6), (2, 3))
    assert larger.shape == (25, 4)
    assert (larger[0] == 7).all()
    torch.testing.assert_close(larger[1:], torch.ones(24, 4))


def test_built_in_towers(tiny_clip, rng):
    image = rng.integers(0, 256, (40, 70, 3), dtype=np.uint8)
    masks = rng.random((5, 40, 70)) > 0.5
    ours = encode_segments(tiny_clip, image, masks)
    assert ours.shape == (5, tiny_clip.dim)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert encode_segments(tiny_clip, image, masks[:0]).shape == (0, tiny_clip.dim)


def test_built_in_tower_reads_the_whole_image_as_it_reads_images(tiny_clip, rng):
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = tiny_clip.pixels(image[None])
    with torch.inference_mode():
        region = pool_regions(tiny_clip.model.visual, pixels, whole(1, 64), padding=0)
        plain = tiny_clip.model.visual(pixels)
    np.testing.assert_allclose(l2_normalize(region[0].numpy()), l2_normalize(plain.numpy()), atol=1e-5)


def test_refusals():
    with pytest.raises(VGGymError, match="Linear"):
        pool_regions(torch.nn.Linear(2, 2), random_pixels(64), whole(1, 64))
    with pytest.raises(VGGymError, match="class token"):
        pool_regions(vit(pool_type="avg"), random_pixels(64), whole(1, 64))
    with pytest.raises(VGGymError, match="does not divide"):
        pool_regions(vit(), random_pixels(64), whole(1, 64), upsample=3)
