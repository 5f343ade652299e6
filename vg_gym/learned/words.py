"""Expressions to token ids, with the characters each token stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vg_gym.types import VGGymError


@dataclass(frozen=True)
class Tokens:
    """Texts as a network reads them.

    ``ids`` int64 (N, L); ``padding`` bool (N, L), True where there is no token; ``offsets`` int64 (N, L, 2), first and
    last-plus-one character of each token in its text, (0, 0) for special tokens and padding.
    """

    ids: torch.Tensor
    padding: torch.Tensor
    offsets: torch.Tensor

    @property
    def is_word(self) -> torch.Tensor:
        """Bool (N, L): tokens that stand for characters; neither special nor padding."""
        return self.offsets[..., 1] > self.offsets[..., 0]

    def to(self, device: torch.device | str) -> Tokens:
        """The tokens on a device."""
        return Tokens(self.ids.to(device), self.padding.to(device), self.offsets.to(device))


class WordCodec:
    """One id a word, for the few dozen words of a small data set; BERT's frame: start, words, end, padding.

    Args:
        words: the vocabulary, in the order that fixes the ids.
        length: most tokens of a text, start and end included; longer texts are cut.
        fixed: pad all texts to ``length`` (for networks with a learned table of positions), else to the longest.
    """

    PAD, START, END, UNKNOWN = range(4)

    def __init__(self, words: Sequence[str], length: int, fixed: bool):
        self.words, self.length, self.fixed = tuple(words), length, fixed
        self._ids = {word: 4 + i for i, word in enumerate(words)}

    @property
    def size(self) -> int:
        """Number of ids."""
        return 4 + len(self._ids)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of texts."""
        found = [list(re.finditer(r"[a-z0-9]+", text.lower()))[: self.length - 2] for text in texts]
        length = self.length if self.fixed else max((len(words) for words in found), default=0) + 2
        ids = torch.zeros(len(texts), length, dtype=torch.long)
        offsets = torch.zeros(len(texts), length, 2, dtype=torch.long)
        for row, words in enumerate(found):
            line = [self.START, *(self._ids.get(word.group(), self.UNKNOWN) for word in words), self.END]
            ids[row, : len(line)] = torch.tensor(line)
            if words:
                offsets[row, 1 : len(words) + 1] = torch.tensor([word.span() for word in words])
        return Tokens(ids, ids == self.PAD, offsets)


class HubCodec:
    """A tokenizer of transformers, by hub name or local folder (``bert-base-uncased``, ``roberta-base``).

    Args:
        name: of it.
        length: most tokens of a text, special ones included.
        fixed: pad all texts to ``length``, else to the longest.

    Raises:
        VGGymError: transformers or the tokenizer cannot be had.
    """

    def __init__(self, name: str, length: int, fixed: bool):
        self.length, self.fixed = length, fixed
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise VGGymError('learned grounders need transformers: pip install "vg_gym[pipelines]"') from error
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name, use_fast=True)
        except (OSError, ValueError) as error:
            raise VGGymError(
                f"no tokenizer {name!r}: {str(error).splitlines()[0][:200]}. Without hub access give its folder "
                f"(tokenizer.json or vocab files), e.g. METHOD.tokenizer=/path/to/{name.rsplit('/', 1)[-1]}"
            ) from error

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._tokenizer)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of texts."""
        found = self._tokenizer(
            list(texts),
            padding="max_length" if self.fixed else "longest",
            truncation=True,
            max_length=self.length,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        return Tokens(found["input_ids"], found["attention_mask"] == 0, found["offset_mapping"])
