import multiprocessing
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import pytest
import torch

from vg_gym.clip import load_clip
from vg_gym.clip.crops import crop_and_resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.finetuning.model import save_model
from vg_gym.clip.loader import BuiltInClip
from vg_gym.errors import VGGymError
from vg_gym.storage.assets import built_in


def random_image(rng, height=50, width=70):
    return rng.integers(0, 255, (height, width, 3)).astype(np.uint8)


def test_shapes_and_lengths(tiny_clip, rng):
    texts = tiny_clip.encode_text(["the red star", "the ring", "the red star"])
    assert texts.shape == (3, 16) and texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(texts[0], texts[2])
    boxes = np.array([[0, 0, 70, 50], [10, 10, 20.5, 30], [69.9, 49.9, 70, 50]], np.float32)
    assert tiny_clip.encode_boxes(random_image(rng), boxes).shape == (3, 16)
    assert tiny_clip.encode_crops([]).shape == (0, 16)
    assert tiny_clip.encode_dense([random_image(rng)] * 2).shape == (2, 4, 4, 16)
    tokens = tiny_clip.encode_tokens(["the ring", "the red star left of the blue ring"])
    assert tokens.shape == (2, 16, 16)
    assert (np.abs(tokens[0]).sum(-1) > 0).tolist() == [True] * 4 + [False] * 12  # start, two words, end


def test_words_by_themselves_have_a_row_each(tiny_clip):
    table = tiny_clip.encode_words()
    assert table.shape == (tiny_clip.vocabulary_size + 1, 16) == (tiny_clip.tokenizer.vocab_size + 1, 16)
    np.testing.assert_allclose(np.linalg.norm(table[:-1], axis=1), 1, atol=1e-5)
    assert not table[-1].any()
    short, long = (tiny_clip.word_rows(text).tolist() for text in ("the ring", "the red star left of the blue ring"))
    assert len(short) == len(long) == 16
    assert short[:2] == long[:2] and short[2] == long[8]  # start, "the"; "ring" wherever it stands
    assert short[4:] == [tiny_clip.vocabulary_size] * 12


def test_dense_features_do_not_depend_on_the_batch(tiny_clip, rng):
    images = [random_image(rng) for _ in range(5)]
    together = tiny_clip.encode_dense(images)
    for i, single in enumerate(images):
        np.testing.assert_array_equal(tiny_clip.encode_dense([single])[0], together[i])


def test_a_saved_model_is_the_same_model(tiny_clip, tmp_path, rng):
    save_model(tiny_clip, tmp_path / "model")
    loaded = load_clip(str(tmp_path / "model"))
    assert (loaded.crop_size, loaded.dense, loaded.words) == (32, "tokens", tiny_clip.words)
    pixels = random_image(rng)
    np.testing.assert_allclose(loaded.encode_dense([pixels]), tiny_clip.encode_dense([pixels]), atol=5e-3)
    np.testing.assert_allclose(loaded.encode_text(["the ring"]), tiny_clip.encode_text(["the ring"]), atol=5e-3)


@pytest.mark.parametrize("architecture", ["ViT-B-32", "RN50"])
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*runs with GELU; if these weights:UserWarning")
def test_any_open_clip_architecture_loads_from_a_file(architecture, tmp_path, rng):
    model = open_clip.create_model(architecture)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    encoder = load_clip(f"{architecture}:{tmp_path / 'weights.pt'}")
    assert isinstance(encoder, ClipEncoder) and encoder.words is None
    crops = encoder.encode_boxes(random_image(rng), np.array([[0, 0, 40, 40]], np.float32))
    with torch.inference_mode():
        pixels = encoder._pixels([random_image(np.random.default_rng(0))[:40, :40]], encoder.crop_size)
        expected = open_clip.create_model(architecture, pretrained=str(tmp_path / "weights.pt")).eval()
        reference = torch.nn.functional.normalize(expected.encode_image(pixels), dim=-1).numpy()
    np.testing.assert_allclose(crops, reference, atol=1e-4)
    assert encoder.encode_dense([random_image(rng)]).shape[-1] == encoder.dim


def test_a_long_text_is_cut_not_refused(tiny_clip):
    assert np.isfinite(tiny_clip.encode_text(["word " * 300])).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "neither built in"), ("ViT-B-32:no-such-tag", "no-such-tag"), ("ViT-Z-99:openai", "ViT-Z-99")],
)
def test_bad_names_are_named(name, message):
    with pytest.raises(VGGymError, match=message):
        load_clip(name)


@pytest.mark.parametrize("device", ["quantum", "mps" if not torch.backends.mps.is_available() else "fpga"])
def test_a_device_that_is_not_there_is_an_error_of_loading(device):
    with pytest.raises(VGGymError, match="cannot load clip 'refshapes'"):
        load_clip("refshapes", device)


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


def test_regions_of_many_images(tiny_clip, rng):
    images = [random_image(rng), random_image(rng, 33, 20), random_image(rng)[::-1]]
    boxes = np.array([[0, 0, 70, 50], [3, 4.5, 20, 30], [10, 10, 60, 20]], np.float32)
    uploaded = [tiny_clip.upload(image) for image in images]
    regions = tiny_clip.encode_regions(uploaded, boxes)
    expected = np.concatenate([tiny_clip.encode_boxes(i, b[None]) for i, b in zip(images, boxes, strict=True)])
    np.testing.assert_allclose(regions, expected, atol=1e-5)
    assert tiny_clip.encode_regions([], boxes[:0]).shape == (0, 16)

    pixels = tiny_clip.normalize(crop_and_resize(uploaded, boxes, tiny_clip.crop_size) / 255)
    np.testing.assert_allclose(tiny_clip._embed([pixels]), expected, atol=1e-5)  # what a GPU would do


def in_fork(work):
    """What a forked process answers."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=lambda: answers.put(_answer(work)))
    process.start()
    answer = answers.get(timeout=60)
    process.join()
    return answer


def _answer(work):
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize(
    "work",
    [
        lambda clip: clip.encode_text(["the unseen ring"]),
        lambda clip: clip.encode_tokens(["the ring"]),
        lambda clip: clip.encode_dense([np.zeros((8, 8, 3), np.uint8)]),
        lambda clip: clip.encode_crops([np.zeros((8, 8, 3), np.uint8)]),
        lambda clip: clip.encode_boxes(np.zeros((8, 8, 3), np.uint8), np.array([[0, 0, 8, 8]], np.float32)),
        lambda clip: clip.encode_regions([torch.zeros(8, 8, 3, dtype=torch.uint8)], np.array([[0, 0, 8, 8]])),
    ],
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")  # the encoder only believes it is on a GPU
def test_a_clip_on_a_gpu_says_that_it_cannot_be_forked(work, tiny_clip):
    clip = tiny_clip.copy()
    clip.device = torch.device("cuda")
    assert in_fork(lambda: work(clip)).startswith("VGGymError: clip 'tiny' is on a GPU and was loaded before")
    unpickled = pickle.dumps(clip)
    assert in_fork(lambda: pickle.loads(unpickled)._check_process()) is None


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_clip_on_a_cpu_can_be_forked(tiny_clip, rng):
    """A forked process lacks the second thread of the first, for which OpenMP would wait without end."""
    crops, usual = [random_image(rng) for _ in range(16)], torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.ones(2000, 2000) @ torch.ones(2000, 2000)
        forked = in_fork(lambda: (torch.get_num_threads(), tiny_clip.encode_crops(crops)))
    finally:
        torch.set_num_threads(usual)
    assert forked[0] == 1
    np.testing.assert_allclose(forked[1], tiny_clip.encode_crops(crops), atol=1e-6)


def test_loading_onto_a_gpu_in_a_forked_process_is_named(monkeypatch, tmp_path):
    def refuse(*arguments, **options):
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, ...")

    monkeypatch.setattr("vg_gym.clip.loader._load_folder", refuse)
    with pytest.raises(VGGymError, match="context='spawn'"):
        load_clip(str(tmp_path))


def test_prompts_are_words_for_a_word_level_clip(tiny_clip, monkeypatch):
    assert tiny_clip.prompt_template() == "{}"
    assert tiny_clip.prompt_template("this is {}") == "this is {}"
    with pytest.raises(VGGymError, match="'a photo' has no {} where"):
        tiny_clip.prompt_template("a photo")
    monkeypatch.setattr(tiny_clip, "tokenizer", open_clip.SimpleTokenizer())
    assert tiny_clip.prompt_template() == "a photo of {}"


def test_a_copy_is_apart(tiny_clip):
    other = tiny_clip.copy()
    with torch.no_grad():
        other.model.visual.proj.add_(1)
    image = np.zeros((32, 32, 3), np.uint8)
    assert not np.array_equal(other.encode_crops([image]), tiny_clip.encode_crops([image]))
    assert other.fingerprint != tiny_clip.fingerprint


def test_the_built_in_clip_is_described_by_its_files(rng):
    """What is asked before the model is built is what the model says; building it leaves torch's generator alone."""
    folder = built_in("clip", "refshapes")
    lazy, whole = BuiltInClip("refshapes", folder), load_clip(str(folder))
    for name in (
        "grid",
        "dim",
        "num_tokens",
        "image_size",
        "crop_size",
        "dense",
        "fingerprint",
        "logit_scale",
        "words",
    ):
        assert getattr(lazy, name) == getattr(whole, name), name
    assert not lazy.is_loaded and whole.is_loaded
    before = torch.random.get_rng_state()
    crops = [rng.integers(255, size=(20, 30, 3), dtype=np.uint8) for _ in range(2)]
    np.testing.assert_array_equal(lazy.encode_crops(crops), whole.encode_crops(crops))
    np.testing.assert_array_equal(lazy.encode_text(["the red cross"]), whole.encode_text(["the red cross"]))
    assert lazy.is_loaded and torch.equal(before, torch.random.get_rng_state())
    assert lazy.logit_scale == whole.logit_scale
    lazy.copy().model.visual.proj.sum().backward()


def test_threads_that_all_ask_first_load_it_once(monkeypatch, rng):
    folder, made, original = built_in("clip", "refshapes"), [], open_clip.create_model
    lazy = BuiltInClip("refshapes", folder)

    def create(*args, **options):
        made.append(args)
        time.sleep(0.2)  # the others arrive meanwhile
        return original(*args, **options)

    monkeypatch.setattr(open_clip, "create_model", create)
    image, begin = random_image(rng), threading.Barrier(4)

    def encode(_):
        begin.wait(10)
        return lazy.encode_dense([image])

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(encode, range(4))
    assert len(made) == 1
    for other in others:
        np.testing.assert_array_equal(other, first)
