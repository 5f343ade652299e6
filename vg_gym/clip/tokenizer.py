"""A word-level tokenizer for the small built-in CLIP: a vocabulary of a few dozen words needs no BPE table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vg_gym.data.expressions import vocabulary
from vg_gym.data.rewording import reword
from vg_gym.lazily import torch

PAD, UNKNOWN, START = 0, 1, 2
_FIRST_WORD = 3


class WordTokenizer:
    """Words to ids, with open_clip's conventions: the end token has the highest id, so ``argmax`` pooling finds it.

    With the vocabulary of RefShapes, texts are first brought into its language (:mod:`vg_gym.data.rewording`).

    Args:
        words: the vocabulary, in the order that fixes the ids.
        context_length: tokens per text, start and end included; longer texts are cut.
    """

    def __init__(self, words: Sequence[str], context_length: int):
        self.ids = {word: _FIRST_WORD + i for i, word in enumerate(words)}
        self.context_length, self.rewords = context_length, set(words) == set(vocabulary())
        self.end = _FIRST_WORD + len(self.ids)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.end + 1

    def reword(self, text: str) -> str:
        """The text in the words and the order that the vocabulary is for."""
        return reword(text) if self.rewords else text

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids, int64 (N, context_length), padded with 0; unknown words share one id."""
        texts = [texts] if isinstance(texts, str) else texts
        out = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in enumerate(texts):
            words = re.findall(r"[a-z0-9]+", self.reword(text).lower())[: self.context_length - 2]
            ids = [START, *(self.ids.get(word, UNKNOWN) for word in words), self.end]
            out[row, : len(ids)] = torch.tensor(ids)
        return out
