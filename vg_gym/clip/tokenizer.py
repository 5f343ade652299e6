"""Word-level tokenizer for small CLIPs, whose few hundred words do not need a BPE table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vg_gym.data.rewording import reword
from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.runtime.lazy_imports import torch

PAD, UNKNOWN, START = 0, 1, 2
_FIRST_WORD = 3
WORD = r"[a-z0-9]+"
"""Pattern of a word in a lower-case text."""


class WordTokenizer:
    """Tokenizer from words to ids in which the end token has the highest id, as open_clip's ``argmax`` pooling expects.

    With the vocabulary of RefShapes, texts are first rewritten in its language (:mod:`vg_gym.data.rewording`).

    Args:
        words: vocabulary in the order of the ids.
        context_length: tokens per text, including start and end; longer texts are cut.
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
        """Rewrite a text in the words and the order of the vocabulary."""
        return reword(text) if self.rewords else text

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Return token ids, int64 (N, context_length), padded with 0; all unknown words have the same id."""
        texts = [texts] if isinstance(texts, str) else texts
        out = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        for row, text in enumerate(texts):
            words = re.findall(WORD, self.reword(text).lower())[: self.context_length - 2]
            ids = [START, *(self.ids.get(word, UNKNOWN) for word in words), self.end]
            out[row, : len(ids)] = torch.tensor(ids)
        return out
