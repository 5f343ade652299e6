"""Pictures on a canvas, words as ids, and training batches whose answers stay with their pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vg_gym.data.refshapes import RefShapes
from vg_gym.learned.batch import Batch, Canvas, to_cxcywh, to_xyxy
from vg_gym.learned.data import GroundingBatches, mirror_words, pictures
from vg_gym.learned.words import WordCodec

SIZES = st.integers(20, 300)


@given(kind=st.sampled_from(["letterbox", "shortest", "square"]), width=SIZES, height=SIZES)
def test_a_box_on_the_canvas_is_where_its_object_is(kind, width, height):
    picture = np.zeros((height, width, 3), np.uint8)
    box = np.array([width // 4, height // 4, width // 2 + 2, height // 2 + 2])
    picture[box[1] : box[3], box[0] : box[2]] = 255
    canvas = Canvas(kind, 128, longest=300, mean=(0.0,) * 3, std=(1.0,) * 3)
    images, padding, frames = canvas.place([picture])
    batch = Batch(images, padding, frames, torch.tensor([0]), None)
    true = torch.from_numpy((box / [width, height, width, height]).astype(np.float32))[None]
    placed = batch.on_canvas(true)
    torch.testing.assert_close(batch.off_canvas(placed), true, atol=1e-5, rtol=0)
    rows, columns = torch.nonzero(images[0, 0] > 0.5, as_tuple=True)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    pixels = placed[0] * torch.tensor([images.shape[-1], images.shape[-2]] * 2)
    assert float((seen - pixels).abs().max()) <= 2
    inside = torch.nonzero(~padding[0])
    extent = (inside.max(0).values - inside.min(0).values + 1) / torch.tensor(padding.shape[1:])
    torch.testing.assert_close(extent, frames[0, [3, 2]])
    assert not images[0, :, padding[0]].any()


def test_pictures_of_different_sizes_share_a_batch():
    wide, tall = np.full((40, 80, 3), 9, np.uint8), np.full((90, 30, 3), 9, np.uint8)
    images, padding, frames = Canvas("shortest", 60, longest=120).place([wide, tall])
    assert images.shape == (2, 3, 120, 120) and padding[0].sum() == 120 * 60 and padding[1].sum() == 120 * 80
    np.testing.assert_allclose(frames.numpy(), [[0, 0, 1, 0.5], [0, 0, 1 / 3, 1]])


def test_boxes_turn_and_return():
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8]])
    torch.testing.assert_close(to_cxcywh(boxes), torch.tensor([[0.3, 0.5, 0.4, 0.6]]))
    torch.testing.assert_close(to_xyxy(to_cxcywh(boxes)), boxes)


def test_words():
    codec = WordCodec(["blue", "star", "the"], length=5, fixed=True)
    tokens = codec(["The blue star", "a", "the blue blue star star"])
    start, end, unknown = codec.START, codec.END, codec.UNKNOWN
    assert tokens.ids.tolist() == [[start, 6, 4, 5, end], [start, unknown, end, 0, 0], [start, 6, 4, 4, end]]
    assert tokens.padding.tolist()[1] == [False, False, False, True, True]
    assert tokens.offsets[0].tolist() == [[0, 0], [0, 3], [4, 8], [9, 13], [0, 0]]
    assert tokens.is_word.sum(1).tolist() == [3, 1, 3]
    assert WordCodec(["star"], length=9, fixed=False)(["star", "a star"]).ids.shape == (2, 4)


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
        return WordCodec([], 12, True)(texts)


def test_batches_hold_every_picture_once_an_epoch_and_are_functions_of_the_step():
    data = RefShapes("refshapes", "train", scenes=6)
    train, model = pictures(data), Model()
    assert [len(p.expressions) for p in train] == [4] * 6
    batches = GroundingBatches(train, model, images=2, expressions=3, flip=False)
    drawn = [batches(step) for step in range(3)]
    assert all(batch.image_of.tolist() == [0, 0, 0, 1, 1, 1] for batch in drawn)
    known = {(text, *box.tolist()) for p in train for text, box in zip(p.expressions, p.boxes, strict=True)}
    given_ = [(t, *b.tolist()) for texts, batch in zip(model.seen, drawn, strict=True)
              for t, b in zip(texts, batch.boxes, strict=True)]  # fmt: skip
    assert set(given_) <= known and len(set(given_)) == 18
    again = GroundingBatches(train, model, images=2, expressions=3, flip=False, keep=True)(1)
    assert torch.equal(again.images, drawn[1].images) and torch.equal(again.boxes, drawn[1].boxes)


def test_mirrored_pictures_keep_their_answers():
    train = pictures(RefShapes("refshapes", "train", scenes=8))
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


def test_pictures_are_limited():
    assert len(pictures(RefShapes("refshapes", "train", scenes=6), limit=2)) == 2
