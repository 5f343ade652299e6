"""Expressions as token ids, of a CLIP and of transformers."""

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from vg_gym.errors import VGGymError
from vg_gym.learned.frozen_clip import FrozenClip
from vg_gym.learned.tokenization import HubTokenizer


def test_tokens_of_a_clip():
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


def test_tokens_of_a_hub_tokenizer(hub_tokenizer):
    fixed, longest = (
        HubTokenizer(hub_tokenizer, 5, fixed=f)(["the blue star star star", "odd"]) for f in (True, False)
    )
    assert fixed.ids.tolist() == [[1, 4, 5, 6, 2], [1, 3, 2, 0, 0]]
    assert fixed.padding_mask.tolist()[1] == [False, False, False, True, True]
    assert fixed.is_word.tolist()[1] == [False, True, False, False, False]
    assert torch.equal(longest.ids, fixed.ids)
    assert HubTokenizer(hub_tokenizer, 5, fixed=False)(["blue"]).ids.tolist() == [[1, 5, 2]]


def test_rows_of_tokens():
    tokens = FrozenClip("refshapes").tokenize(["the blue star", "the ring left of the blue star"])
    second = tokens[torch.tensor([1])]
    assert second.ids.tolist() == [tokens.ids[1].tolist()] and second.phrases.shape == (1, 2, tokens.phrases.shape[-1])
    assert second.phrases[0, 1].any() and not tokens.phrases[0, 1].any()  # an anchor, and none
