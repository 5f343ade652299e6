"""Expressions to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vg_gym.errors import VGGymError, importing


@dataclass(frozen=True)
class Tokens:
    """N texts of L tokens; ``tokens[rows]`` are those of some texts."""

    ids: torch.Tensor
    """int64 (N, L)."""
    padding_mask: torch.Tensor
    """bool (N, L), True where there is no token."""
    is_word: torch.Tensor
    """bool (N, L), True where a token stands for characters and is no special one."""
    phrases: torch.Tensor | None = None
    """float32 (N, 2, D): a CLIP's unit embeddings of the head and the anchor noun phrase, zero where there is none;
    None where no CLIP encodes the text."""

    def __getitem__(self, rows: torch.Tensor) -> Tokens:
        phrases = None if self.phrases is None else self.phrases[rows]
        return Tokens(self.ids[rows], self.padding_mask[rows], self.is_word[rows], phrases)

    def to(self, device: torch.device | str) -> Tokens:
        """The tokens on a device."""
        phrases = None if self.phrases is None else self.phrases.to(device)
        return Tokens(self.ids.to(device), self.padding_mask.to(device), self.is_word.to(device), phrases)


class HubTokenizer:
    """A tokenizer of transformers, by hub name or local folder (``bert-base-uncased``, ``roberta-base``).

    Args:
        name: of the tokenizer.
        length: most tokens of a text, special ones included.
        fixed: pad all texts to ``length``, else to the longest.

    Raises:
        VGGymError: transformers is not installed, or there is no such tokenizer.
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
        """Token ids of texts."""
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
