"""Tokenization of expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vg_gym.errors import VGGymError, importing


@dataclass(frozen=True)
class Tokens:
    """Tokens of N texts of length L; ``tokens[rows]`` selects texts."""

    ids: torch.Tensor
    """Token ids, int64 (N, L)."""
    padding_mask: torch.Tensor
    """True at padding, bool (N, L)."""
    is_word: torch.Tensor
    """True at tokens of characters, False at special tokens, bool (N, L)."""
    phrases: torch.Tensor | None = None
    """CLIP's unit embeddings of the head and the anchor noun phrase, float32 (N, 2, D), zero for a missing phrase; None
    if the texts are not encoded by a CLIP."""

    def __getitem__(self, rows: torch.Tensor) -> Tokens:
        phrases = None if self.phrases is None else self.phrases[rows]
        return Tokens(self.ids[rows], self.padding_mask[rows], self.is_word[rows], phrases)

    def to(self, device: torch.device | str) -> Tokens:
        """Return the tokens on a device."""
        phrases = None if self.phrases is None else self.phrases.to(device)
        return Tokens(self.ids.to(device), self.padding_mask.to(device), self.is_word.to(device), phrases)


class HubTokenizer:
    """Tokenizer of transformers from a hub name or a local folder (``bert-base-uncased``, ``roberta-base``).

    Args:
        name: name of the tokenizer.
        length: largest number of tokens of a text, including special tokens.
        fixed: pad all texts to ``length``, else to the longest text.

    Raises:
        VGGymError: transformers is not installed, or the tokenizer does not exist.
    """

    def __init__(self, name: str, length: int, fixed: bool):
        self.length, self.fixed = length, fixed
        with importing("a learned grounder", "transformers", "detr"):
            from transformers import AutoTokenizer
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name, use_fast=True)
        except (OSError, ValueError) as error:
            raise VGGymError(
                f"no tokenizer {name!r}: {str(error).splitlines()[0][:200]}. Without hub access give its folder "
                f"(tokenizer.json or vocab files), e.g. METHOD.tokenizer=/path/to/{name.rsplit('/', 1)[-1]}"
            ) from error

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of texts."""
        encoded = self._tokenizer(
            list(texts),
            padding="max_length" if self.fixed else "longest",
            truncation=True,
            max_length=self.length,
            return_offsets_mapping=True,
            return_tensors="pt",
        )
        start, end = encoded["offset_mapping"].unbind(-1)
        return Tokens(encoded["input_ids"], encoded["attention_mask"] == 0, end > start)
