"""Scoring by crops: the same as encoding every crop anew, with less work."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from vg_gym import boxes as box_ops
from vg_gym.clip.crop_scores import BLUR, CropScores
from vg_gym.clip.crops import crop, pixel_boxes
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import l2_normalize
from vg_gym.clip.scores import RING_SCALE, SCORES
from vg_gym.data.images import ArrayImage
from vg_gym.errors import VGGymError
from vg_gym.types import Query


class CountingImage(ArrayImage):
    """An image that knows how often it was decoded."""

    decoded = 0

    def array(self):
        self.decoded += 1
        return super().array()


@pytest.fixture
def queries(rng):
    """Three queries about images of different sizes."""
    images = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((40, 60), (50, 30), (64, 64))]
    return [Query(CountingImage(image), "the star", str(i)) for i, image in enumerate(images)]


@pytest.fixture
def boxes():
    """A box in each, one of them at the edge."""
    return np.array([[5.2, 3, 40, 30.5], [0, 0, 30, 50], [50, 60.5, 64, 64]], np.float32)


@pytest.fixture
def counted(tiny_clip, monkeypatch):
    """How many crops went into each call of the encoder."""
    calls, original = [], ClipEncoder.encode_crops
    monkeypatch.setattr(ClipEncoder, "encode_crops", lambda self, c: calls.append(len(c)) or original(self, c))
    return calls


def texts(clip, count):
    return clip.encode_text(["the star", "the red ring", "the blue heart", "the cross"][:count])


def blur_outside(image, box):
    """An image blurred everywhere but under a pixel box."""
    x1, y1, x2, y2 = pixel_boxes(box, image.shape[1::-1])
    blurred = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(BLUR * max(image.shape[:2]))))
    blurred[y1:y2, x1:x2] = image[y1:y2, x1:x2]
    return blurred


def naive(clip, name, negatives, queries, boxes, text):
    """Every crop by itself, nothing kept."""
    images = [query.image.array() for query in queries]
    region = np.stack([clip.encode_crops([crop(i, b)])[0] for i, b in zip(images, boxes, strict=True)])
    wide = [clip.encode_crops([crop(i, b)])[0] for i, b in zip(images, box_ops.scale(boxes, RING_SCALE), strict=True)]
    isolated = [clip.encode_crops([blur_outside(i, b)])[0] for i, b in zip(images, boxes, strict=True)]
    cosine = (region * text).sum(-1)
    scores = {
        "cosine": cosine,
        "context": cosine - 0.5 * (np.stack(wide) * text).sum(-1),
        "surround": (l2_normalize(region + 0.25 * np.stack(isolated)) * text).sum(-1),
        "contrast": cosine - (region @ negatives.T).max(-1),
    }
    return region, scores[name]


@pytest.mark.parametrize("capacity", [100, 0])
@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_crops_encoded_one_by_one(name, capacity, tiny_clip, queries, boxes, rng):
    negatives, text = texts(tiny_clip, 4), texts(tiny_clip, 3)
    scorer = CropScores(tiny_clip, name, negatives, embeddings=capacity, image_bytes=8000 * (capacity > 0))
    for _ in range(4):
        region, score = scorer(queries, boxes, text)
        expected_region, expected = naive(tiny_clip, name, negatives, queries, boxes, text)
        assert region.dtype == score.dtype == np.float32
        np.testing.assert_allclose(region, expected_region, atol=1e-5)
        np.testing.assert_allclose(score, expected, atol=1e-5)
        boxes = np.roll(boxes, 1, axis=0) * np.float32(rng.choice([0.5, 1]))
        boxes = np.stack([box_ops.fit_inside(b, q.image.size, 1) for b, q in zip(boxes, queries, strict=True)])


@pytest.mark.parametrize(("name", "views"), [("cosine", 3), ("context", 6), ("surround", 6)])
def test_one_forward_a_step_and_none_for_what_was_seen(name, views, tiny_clip, queries, boxes, counted):
    scorer, text = CropScores(tiny_clip, name, None), texts(tiny_clip, 3)
    first = scorer(queries, boxes, text)
    # The second box is its whole image: grown for context it is the same crop again.
    assert counted == [views - (name == "context")]
    second = scorer(queries, boxes + np.float32([0.1, 0.1, -0.1, -0.1]), text)  # the same whole pixels
    assert counted == [views - (name == "context")]
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before, after)
    assert [query.image.decoded for query in queries] == [1, 1, 1]


def test_a_view_that_comes_twice_in_a_step_is_encoded_once(tiny_clip, queries, boxes, counted):
    scorer, rows = CropScores(tiny_clip, "cosine", None), [0, 1, 0, 0]
    region, score = scorer([queries[i] for i in rows], boxes[rows], texts(tiny_clip, 4))
    assert counted == [2]
    np.testing.assert_array_equal(region[0], region[2])
    assert score[0] != score[2]  # the texts differ


def test_images_that_do_not_fit_are_decoded_again(tiny_clip, queries, boxes):
    scorer = CropScores(tiny_clip, "cosine", None, embeddings=0, image_bytes=queries[0].image.array().nbytes)
    for _ in range(2):
        for i in (0, 1):
            scorer([queries[i]], boxes[i : i + 1], texts(tiny_clip, 1))
    assert queries[0].image.decoded == 3  # once by this test


def test_unknown_scores_are_named(tiny_clip):
    with pytest.raises(VGGymError, match="did you mean 'cosine'"):
        CropScores(tiny_clip, "cosin", None)
