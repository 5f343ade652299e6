import numpy as np
import open_clip
import pytest
import torch

from vg_gym.clip import load_clip
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.training import save_model
from vg_gym.types import VGGymError

from ..conftest import TINY


def picture(rng, height=50, width=70):
    return rng.integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_shapes_and_lengths(tiny_clip, rng):
    texts = tiny_clip.encode_text(["the red star", "the ring", "the red star"])
    assert texts.shape == (3, 16) and texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(texts[0], texts[2])
    boxes = np.array([[0, 0, 70, 50], [10, 10, 20.5, 30], [69.9, 49.9, 70, 50]], np.float32)
    assert tiny_clip.encode_boxes(picture(rng), boxes).shape == (3, 16)
    assert tiny_clip.encode_crops([]).shape == (0, 16)
    assert tiny_clip.encode_dense([picture(rng)] * 2).shape == (2, 4, 4, 16)
    tokens = tiny_clip.encode_tokens(["the ring", "the red star left of the blue ring"])
    assert tokens.shape == (2, 16, 16)
    assert (np.abs(tokens[0]).sum(-1) > 0).tolist() == [True] * 4 + [False] * 12  # start, two words, end


def test_dense_features_do_not_depend_on_the_batch(tiny_clip, rng):
    pictures = [picture(rng) for _ in range(5)]
    together = tiny_clip.encode_dense(pictures)
    for i, single in enumerate(pictures):
        np.testing.assert_array_equal(tiny_clip.encode_dense([single])[0], together[i])


def test_a_saved_model_is_the_same_model(tiny_clip, tmp_path, rng):
    save_model(tiny_clip, tmp_path / "model", TINY)
    loaded = load_clip(str(tmp_path / "model"))
    assert (loaded.crop_size, loaded.dense, loaded.words) == (32, "tokens", tiny_clip.words)
    pixels = picture(rng)
    np.testing.assert_allclose(loaded.encode_dense([pixels]), tiny_clip.encode_dense([pixels]), atol=5e-3)
    np.testing.assert_allclose(loaded.encode_text(["the ring"]), tiny_clip.encode_text(["the ring"]), atol=5e-3)


@pytest.mark.parametrize("architecture", ["ViT-B-32", "RN50"])
@pytest.mark.slow
def test_any_open_clip_architecture_loads_from_a_file(architecture, tmp_path, rng):
    model = open_clip.create_model(architecture)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = load_clip(f"{architecture}:{tmp_path / 'weights.pt'}")
    assert isinstance(encoder, ClipEncoder) and encoder.words is None
    crops = encoder.encode_boxes(picture(rng), np.array([[0, 0, 40, 40]], np.float32))
    with torch.inference_mode():
        pixels = encoder._pixels([picture(np.random.default_rng(0))[:40, :40]], encoder.crop_size)
        expected = open_clip.create_model(architecture, pretrained=str(tmp_path / "weights.pt")).eval()
        reference = torch.nn.functional.normalize(expected.encode_image(pixels), dim=-1).numpy()
    np.testing.assert_allclose(crops, reference, atol=1e-4)
    assert encoder.encode_dense([picture(rng)]).shape[-1] == encoder.dim


def test_a_long_text_is_cut_not_refused(tiny_clip):
    assert np.isfinite(tiny_clip.encode_text(["word " * 300])).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "neither built in"), ("ViT-B-32:no-such-tag", "no-such-tag"), ("ViT-Z-99:openai", "ViT-Z-99")],
)
def test_bad_names_are_named(name, message):
    with pytest.raises(VGGymError, match=message):
        load_clip(name)


def test_weights_of_another_architecture_are_named(tmp_path):
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(VGGymError, match="cannot load clip"):
        load_clip(f"ViT-S-32-alt:{tmp_path / 'other.pt'}")


def test_a_checkpoint_with_code_in_it_does_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "boom"), "w"))

    torch.save({"weights": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(Exception, match="cannot load clip|weights_only|Unsupported|Weights only"):
        load_clip(f"ViT-S-32-alt:{tmp_path / 'bomb.pt'}")
    assert not (tmp_path / "boom").exists()
