"""Training batches: answers stay with their images, mirrored or not, and a step is always the same."""

import torch

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.learned.batch import Canvas
from vg_gym.learned.tokenization import Tokens
from vg_gym.learned.training_batches import GroundingBatches, annotated_images


class Model:
    """What batches want of a network."""

    canvas = Canvas("square", 128, mean=(0.0,) * 3, std=(1.0,) * 3)

    def __init__(self):
        self.texts = []

    def tokenize(self, texts):
        self.texts.append(list(texts))
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
    given_ = [(t, *b.tolist()) for texts, batch in zip(model.texts, drawn, strict=True)
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


class MeanColor(Model):
    """Its frozen features are the mean colour of each image."""

    calls = 0

    def frozen_image_features(self, images):
        self.calls += len(images)
        return images.mean((2, 3))


def test_frozen_features_are_computed_once_and_belong_to_their_image(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, model = annotated_images(RefShapes("refshapes", "train", scenes=10)), MeanColor()
    known, fresh = (GroundingBatches(train, m, images=10, expressions=4, flip=True) for m in (model, Model()))
    assert model.calls == 21 and fresh.features is None  # one to know the shape, then ten and their mirrors
    torch.testing.assert_close(known(0).features, fresh(0).images.mean((2, 3)), atol=1e-3, rtol=0)
    assert torch.equal(known(0).boxes, fresh(0).boxes)
    again = MeanColor()
    GroundingBatches(train, again, images=10, expressions=4, flip=True)
    assert again.calls == 1
