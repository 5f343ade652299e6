from functools import partial

import numpy as np
import pytest

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.region_features import box_sum, l2_normalize, summed_area
from vg_gym.clip.scores import SCORES, measure, negative_prompts, score_boxes
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.errors import VGGymError


@pytest.fixture
def scene(rng):
    """An image whose middle looks like the text, and a bank of other texts."""
    text = l2_normalize(rng.normal(size=(1, 8))).astype(np.float32)
    maps = 0.3 * rng.normal(size=(1, 8, 8, 8)).astype(np.float32)
    maps[0, 2:6, 2:6] += text[0]
    return summed_area(maps), text, l2_normalize(rng.normal(size=(5, 8))).astype(np.float32)


@pytest.mark.parametrize("name", SCORES)
def test_the_right_box_beats_a_wrong_one(name, scene):
    table, text, others = scene
    boxes = np.array([[[0.25, 0.25, 0.75, 0.75], [0, 0, 0.25, 0.25], [0, 0, 1, 1]]], np.float32)
    right, wrong, whole = score_boxes(name, table, text, boxes, others)[0]
    assert right > wrong and right > whole
    assert -2 <= wrong <= right <= 2
    features, single = measure(name, partial(box_sum, table), text, boxes[:, :1], others)
    assert single[0, 0] == right
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-5)


def test_context_prefers_the_whole_object_to_its_part(scene):
    table, text, others = scene
    boxes = np.array([[[0.25, 0.25, 0.75, 0.75], [0.375, 0.375, 0.625, 0.625]]], np.float32)
    gap = {name: np.subtract(*score_boxes(name, table, text, boxes, others)[0]) for name in ("cosine", "context")}
    assert gap["context"] > gap["cosine"]


def test_unknown_scores_are_named(scene):
    table, text, _ = scene
    with pytest.raises(VGGymError, match="did you mean 'cosine'"):
        score_boxes("cosin", table, text, np.zeros((1, 1, 4), np.float32))


def test_negatives_are_of_the_clip_s_own_vocabulary(tiny_clip):
    def prompts(words):
        tokenizer = WordTokenizer(words, 16)
        return negative_prompts(ClipEncoder("own", tiny_clip.model, tokenizer, config=tiny_clip.config))

    assert prompts(["dog", "red", "mug", "a"]) == ["a dog", ""]
    assert prompts(["mug", "zebu"]) == ["a mug", "a zebu", ""]
    assert negative_prompts(tiny_clip)[0].startswith("the ") and negative_prompts(tiny_clip)[-1] == "the shape"
