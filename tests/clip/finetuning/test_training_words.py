"""The vocabulary of a CLIP from scratch comes from its data set."""

import pytest

from vg_gym.clip.finetuning.training_words import frequent_words, training_words
from vg_gym.clip.tokenizer import UNKNOWN, WordTokenizer
from vg_gym.data.worlds.refscenes.kinds import KINDS
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.errors import VGGymError


def test_rare_words_are_left_out_and_become_one_token():
    words = frequent_words(["The red mug", "a red dgo", "the dog's mug", "the dog"], 2)
    assert words == ["dog", "mug", "red", "the"]
    ids = WordTokenizer(words, 8)(["the red dgo"])[0].tolist()
    assert ids.count(UNKNOWN) == 1


def test_refshapes_has_its_whole_language_and_refscenes_no_word_of_its_tests():
    assert training_words(RefShapes("refshapes", "train", scenes=2), 5) == list(vocabulary())
    words = training_words(RefScenes("train", scenes=8), 2)
    assert {"the", "a", "red"} <= set(words)
    held_out = {kind.held_out for kind in KINDS.values() if kind.held_out}
    assert held_out and not held_out & set(words)


def test_too_high_a_count_is_named():
    with pytest.raises(VGGymError, match="min_count=100000: no word of refscenes/train"):
        training_words(RefScenes("train", scenes=8), 100_000)
