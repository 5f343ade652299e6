"""Expressions to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vg_gym.errors import VGGymError


@dataclass(frozen=True)
class Tokens:
    """Texts as a network reads them.

    ``ids`` int64 (N, L); ``padding`` bool (N, L), True where there is no token; ``is_word`` bool (N, L), True where a
    token stands for characters and is no special one. ``phrases`` float32 (N, 2, D): unit embeddings of the head and
    the anchor noun phrase by a CLIP, zero where there is none; None where no CLIP reads the text.
    """

    ids: torch.Tensor
    padding: torch.Tensor
    is_word: torch.Tensor
    phrases: torch.Tensor | None = None

    def rows(self, rows: torch.Tensor) -> Tokens:
        """The tokens of some texts."""
        phrases = None if self.phrases is None else self.phrases[rows]
        return Tokens(self.ids[rows], self.padding[rows], self.is_word[rows], phrases)

    def to(self, device: torch.device | str) -> Tokens:
        """The tokens on a device."""
        phrases = None if self.phrases is None else self.phrases.to(device)
        return Tokens(self.ids.to(device), self.padding.to(device), self.is_word.to(device), phrases)


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
        start, end = found["offset_mapping"].unbind(-1)
        return Tokens(found["input_ids"], found["attention_mask"] == 0, end > start)
