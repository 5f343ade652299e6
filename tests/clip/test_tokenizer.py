"""The word tokenizer keeps open_clip's conventions."""

import pytest
import torch

from vg_gym.clip.tokenizer import PAD, START, UNKNOWN, WordTokenizer


@pytest.fixture
def tokenizer():
    return WordTokenizer(["blue", "star", "the"], context_length=6)


def test_words_become_ids_between_start_and_end(tokenizer):
    ids = tokenizer(["The blue, BLUE star!", "the heart", ""])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [
        [START, 5, 3, 3, 4, tokenizer.end],
        [START, 5, UNKNOWN, tokenizer.end, PAD, PAD],
        [START, tokenizer.end, PAD, PAD, PAD, PAD],
    ]
    assert torch.equal(tokenizer("the heart"), ids[1:2])


def test_the_end_has_the_highest_id_and_is_never_cut_off(tokenizer):
    ids = tokenizer(["the " * 20])
    assert ids.shape == (1, 6) and ids[0, -1] == ids.max() == tokenizer.end == tokenizer.vocab_size - 1
