"""Images on a canvas, texts as ids, and training batches whose answers stay with their images."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.data.refshapes import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Batch, Canvas
from vg_gym.learned.frozen_clip import FrozenClip
from vg_gym.learned.tokenization import HubTokenizer, Tokens
from vg_gym.learned.training_batches import GroundingBatches, annotated_images, mirror_words

SIZES = st.integers(20, 300)


@given(kind=st.sampled_from(["letterbox", "shortest", "square"]), width=SIZES, height=SIZES)
def test_a_box_on_the_canvas_is_where_its_object_is(kind, width, height):
    image = np.zeros((height, width, 3), np.uint8)
    box = np.array([width // 4, height // 4, width // 2 + 2, height // 2 + 2])
    image[box[1] : box[3], box[0] : box[2]] = 255
    canvas = Canvas(kind, 128, longest=300, mean=(0.0,) * 3, std=(1.0,) * 3)
    images, padding, frames = canvas.place([image])
    batch = Batch(images, padding, frames, torch.tensor([0]), None)
    true = torch.from_numpy((box / [width, height, width, height]).astype(np.float32))[None]
    placed = batch.to_canvas(true)
    torch.testing.assert_close(batch.from_canvas(placed), true, atol=1e-5, rtol=0)
    rows, columns = torch.nonzero(images[0, 0] > 0.5, as_tuple=True)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    pixels = placed[0] * torch.tensor([images.shape[-1], images.shape[-2]] * 2)
    assert float((seen - pixels).abs().max()) <= 2
    inside = torch.nonzero(~padding[0])
    extent = (inside.max(0).values - inside.min(0).values + 1) / torch.tensor(padding.shape[1:])
    torch.testing.assert_close(extent, frames[0, [3, 2]])
    assert not images[0, :, padding[0]].any()


def test_images_of_different_sizes_share_a_batch():
    wide, tall = np.full((40, 80, 3), 9, np.uint8), np.full((90, 30, 3), 9, np.uint8)
    images, padding, frames = Canvas("shortest", 60, longest=120).place([wide, tall])
    assert images.shape == (2, 3, 120, 120) and padding[0].sum() == 120 * 60 and padding[1].sum() == 120 * 80
    np.testing.assert_allclose(frames.numpy(), [[0, 0, 1, 0.5], [0, 0, 1 / 3, 1]])


def test_boxes_turn_and_return():
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8]])
    torch.testing.assert_close(to_cxcywh(boxes), torch.tensor([[0.3, 0.5, 0.4, 0.6]]))
    torch.testing.assert_close(from_cxcywh(to_cxcywh(boxes)), boxes)


def test_the_words_of_a_clip():
    tokens = FrozenClip("refshapes").tokenize(["the blue star", "nonsense", "the blue star left of the ring"], length=6)
    assert tokens.ids.shape == (3, 6) and tokens.padding_mask.tolist()[1] == [False] * 3 + [True] * 3
    assert tokens.is_word.sum(1).tolist()[:2] == [3, 1]
    with pytest.raises(VGGymError, match="no tokenizer 'nowhere'.*METHOD.tokenizer=/path/to/nowhere"):
        HubTokenizer("nowhere", 5, fixed=True)


@pytest.fixture
def hub_tokenizer(tmp_path):
    """A word-level tokenizer in transformers' layout, with BERT's frame."""
    names = {name: i for i, name in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "blue", "star"])}
    backend = Tokenizer(WordLevel(names, "[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(tmp_path)
    return str(tmp_path)


def test_the_words_of_a_hub_tokenizer(hub_tokenizer):
    fixed, longest = (
        HubTokenizer(hub_tokenizer, 5, fixed=f)(["the blue star star star", "odd"]) for f in (True, False)
    )
    assert fixed.ids.tolist() == [[1, 4, 5, 6, 2], [1, 3, 2, 0, 0]]
    assert fixed.padding_mask.tolist()[1] == [False, False, False, True, True]
    assert fixed.is_word.tolist()[1] == [False, True, False, False, False]
    assert torch.equal(longest.ids, fixed.ids)
    assert HubTokenizer(hub_tokenizer, 5, fixed=False)(["blue"]).ids.tolist() == [[1, 5, 2]]


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("the star left of the ring", "the star right of the ring"),
        ("Left bird", "right bird"),
        ("the leftmost cross in the top right corner", "the rightmost cross in the top left corner"),
        ("a bright leftover", "a bright leftover"),
    ],
)
def test_mirrored_words(text, mirrored):
    assert mirror_words(text) == mirrored


class Model:
    """What batches want of a network."""

    canvas = Canvas("square", 128, mean=(0.0,) * 3, std=(1.0,) * 3)

    def __init__(self):
        self.seen = []

    def tokenize(self, texts):
        self.seen.append(list(texts))
        blank = torch.zeros(len(texts), 3, dtype=torch.long)
        return Tokens(blank, blank == 1, blank == 0)

    def parameters(self):
        return iter([torch.zeros(1)])

    def frozen_image_features(self, images):
        return None


def test_batches_hold_every_image_once_an_epoch_and_are_functions_of_the_step():
    data = RefShapes("refshapes", "train", scenes=6)
    train, model = annotated_images(data), Model()
    assert [len(p.expressions) for p in train] == [4] * 6
    batches = GroundingBatches(train, model, images=2, expressions=3, flip=False)
    drawn = [batches(step) for step in range(3)]
    assert all(batch.image_of.tolist() == [0, 0, 0, 1, 1, 1] for batch in drawn)
    known = {(text, *box.tolist()) for p in train for text, box in zip(p.expressions, p.boxes, strict=True)}
    given_ = [(t, *b.tolist()) for texts, batch in zip(model.seen, drawn, strict=True)
              for t, b in zip(texts, batch.boxes, strict=True)]  # fmt: skip
    assert set(given_) <= known and len(set(given_)) == 18
    again = GroundingBatches(train, model, images=2, expressions=3, flip=False)(1)
    assert torch.equal(again.images, drawn[1].images) and torch.equal(again.boxes, drawn[1].boxes)


def test_mirrored_images_keep_their_answers():
    train = annotated_images(RefShapes("refshapes", "train", scenes=8))
    plain, turned = (GroundingBatches(train, Model(), images=8, expressions=4, flip=flip)(0) for flip in (False, True))
    images = [turned.images[i] for i in turned.image_of]
    mirrored = 0
    for image, box in zip(images, turned.boxes, strict=True):
        candidates = [i for i in range(8) if torch.equal(plain.images[i].flip(-1), image)]
        if candidates:
            mirrored += 1
            flipped = box[[2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([1, 0, 1, 0])
            originals = plain.boxes[plain.image_of == candidates[0]]
            assert (originals - flipped).abs().max(1).values.min() < 1e-6
    assert 0 < mirrored < 32


def test_images_are_limited():
    assert len(annotated_images(RefShapes("refshapes", "train", scenes=6), limit=2)) == 2


class MeanColour(Model):
    """Its frozen features are the mean colour of each image."""

    calls = 0

    def frozen_image_features(self, images):
        self.calls += len(images)
        return images.mean((2, 3))


def test_frozen_features_are_computed_once_and_belong_to_their_image(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, model = annotated_images(RefShapes("refshapes", "train", scenes=10)), MeanColour()
    seen, looked = (GroundingBatches(train, m, images=10, expressions=4, flip=True) for m in (model, Model()))
    assert model.calls == 21 and looked.features is None  # one to know the shape, then ten and their mirrors
    torch.testing.assert_close(seen(0).features, looked(0).images.mean((2, 3)), atol=1e-3, rtol=0)
    assert torch.equal(seen(0).boxes, looked(0).boxes)
    again = MeanColour()
    GroundingBatches(train, again, images=10, expressions=4, flip=True)
    assert again.calls == 1
