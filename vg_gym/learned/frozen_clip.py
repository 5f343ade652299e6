"""Features of a frozen CLIP, for networks that read it and do not train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

from vg_gym.clip import ClipEncoder, load_clip
from vg_gym.clip.towers import dense_tokens, embed_image, text_tokens
from vg_gym.language.parsing import noun_phrases
from vg_gym.learned.batch import Canvas
from vg_gym.learned.tokenization import Tokens


@dataclass(frozen=True)
class TextFeatures:
    """CLIP's features of N expressions."""

    tokens: torch.Tensor
    """(N, L, D), unit length."""
    attention_mask: torch.Tensor
    """bool (N, L), True where there is a token."""
    expression: torch.Tensor
    """(N, D), embeddings of the whole expressions."""
    head: torch.Tensor
    """(N, D), embeddings of their head noun phrases."""
    anchor: torch.Tensor
    """(N, D), embeddings of their anchor noun phrases; zero where there is none."""

    def repeat(self, copies: int) -> TextFeatures:
        """The same expressions ``copies`` times, one after the other."""
        return TextFeatures(*(part.repeat(copies, *[1] * (part.ndim - 1)) for part in vars(self).values()))


class FrozenClip:
    """A CLIP by name, without gradients and outside every state dict.

    It is not a module, and copies of a network share it: a checkpoint or a moving average holds no second CLIP.

    Args:
        name: see :func:`vg_gym.clip.load_clip`.

    Raises:
        VGGymError: no such CLIP.
    """

    def __init__(self, name: str):
        self.name = name
        self.encoder: ClipEncoder = load_clip(name)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenClip:
        return self

    @property
    def canvas(self) -> Canvas:
        """The model's own size and normalisation; images are squashed, as :class:`ClipEncoder` does."""
        preprocess = self.encoder.model.visual.preprocess_cfg
        size = self.encoder.image_size
        return Canvas("square", size, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"]))

    def tokenize(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Texts as CLIP's tokens, at most ``length``; the end token has the highest id."""
        ids = self.encoder.tokenizer(list(texts))[:, :length]
        place, end = torch.arange(ids.shape[1]), ids.argmax(dim=1, keepdim=True)
        return Tokens(ids, place > end, (place > 0) & (place < end), self._encode_phrases(texts))

    def _encode_phrases(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings (N, 2, D) of head and anchor; each distinct phrase is encoded once."""
        phrases = [phrase for text in texts for phrase in noun_phrases(self.encoder.reword(text))]
        found = torch.from_numpy(self.encoder.encode_text(phrases)).clone()
        found[[not phrase for phrase in phrases]] = 0.0
        return found.unflatten(0, (-1, 2))

    @torch.no_grad()
    def encode_dense(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D, g, g) of normalised images (B, 3, S, S): :meth:`ClipEncoder.encode_dense`, channels first.

        One by one on a CPU, as there: an image's features must not depend on its neighbours.
        """
        visual, mode = self.on(images.device).model.visual, self.encoder.dense
        found = torch.cat([dense_tokens(visual, chunk, mode) for chunk in _chunks(images)])
        return found.float().permute(0, 3, 1, 2)

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, D), unit length, of normalised images (B, 3, S, S)."""
        visual = self.on(images.device).model.visual
        return F.normalize(torch.cat([embed_image(visual, chunk) for chunk in _chunks(images)]).float(), dim=-1)

    @torch.no_grad()
    def encode_tokens(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (N, L) as features (N, K, D), unit length, K those of the longest text; attention mask (N, K)."""
        features, mask = text_tokens(self.on(ids.device).model, ids)
        length = int(mask.sum(dim=1).max())
        return F.normalize(features[:, :length].float(), dim=-1), mask[:, :length] > 0

    def encode_text(self, texts: Tokens) -> TextFeatures:
        """Features of the texts of :meth:`tokenize`."""
        assert texts.phrases is not None
        tokens, attention_mask = self.encode_tokens(texts.ids)
        expression = tokens[torch.arange(len(tokens), device=tokens.device), texts.ids.argmax(dim=-1)]
        return TextFeatures(tokens, attention_mask, expression, *texts.phrases.unbind(1))

    def on(self, device: torch.device) -> ClipEncoder:
        """The encoder on a device."""
        if self.encoder.device != device:
            self.encoder = load_clip(self.name, str(device))
        return self.encoder


def _chunks(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return images.split(1) if images.device.type == "cpu" else (images,)
