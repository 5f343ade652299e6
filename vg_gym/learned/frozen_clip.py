"""Features of a frozen CLIP for networks that do not train it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
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
    """Unit features of the tokens, (N, L, D)."""
    attention_mask: torch.Tensor
    """True at tokens, bool (N, L)."""
    expression: torch.Tensor
    """Embeddings of the expressions, (N, D)."""
    head: torch.Tensor
    """Embeddings of the head noun phrases, (N, D)."""
    anchor: torch.Tensor
    """Embeddings of the anchor noun phrases, (N, D); zero for an expression without an anchor."""

    def repeat(self, copies: int) -> TextFeatures:
        """Repeat the expressions ``copies`` times, one after the other."""
        return TextFeatures(*(part.repeat(copies, *[1] * (part.ndim - 1)) for part in vars(self).values()))


class FrozenClip:
    """CLIP without gradients that is not part of any state dict.

    It is not a torch module, and copies of a network share it. So checkpoints and moving averages do not contain it.

    Args:
        name: name of the CLIP, see :func:`vg_gym.clip.load_clip`.

    Raises:
        VGGymError: the CLIP cannot be loaded.
    """

    def __init__(self, name: str):
        self.name = name
        self.encoder: ClipEncoder = load_clip(name)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenClip:
        return self

    @property
    def canvas(self) -> Canvas:
        """Canvas with the size and normalisation of the model; images are squashed as in :class:`ClipEncoder`."""
        preprocess = self.encoder.model.visual.preprocess_cfg
        size = self.encoder.image_size
        return Canvas("square", size, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"]))

    def tokenize(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Convert texts to at most ``length`` CLIP tokens; the end token has the highest id."""
        ids = self.encoder.tokenizer(list(texts))[:, :length]
        place, end = torch.arange(ids.shape[1]), ids.argmax(dim=1, keepdim=True)
        return Tokens(ids, place > end, (place > 0) & (place < end), self._encode_phrases(texts))

    def _encode_phrases(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit embeddings (N, 2, D) of head and anchor; each distinct phrase is encoded once."""
        phrases = [phrase for text in texts for phrase in noun_phrases(self.encoder.reword(text))]
        embeddings = torch.from_numpy(self.encoder.encode_text(phrases)).clone()
        embeddings[[not phrase for phrase in phrases]] = 0.0
        return embeddings.unflatten(0, (-1, 2))

    @torch.no_grad()
    def encode_dense(self, images: torch.Tensor) -> torch.Tensor:
        """Return features (B, D, g, g) of normalised images (B, 3, S, S).

        They are those of :meth:`ClipEncoder.encode_dense` with channels first. Images are encoded one at a time on a
        CPU, so that an image's features do not depend on the other images.
        """
        visual, mode = self.on(images.device).model.visual, self.encoder.dense
        features = torch.cat([dense_tokens(visual, chunk, mode) for chunk in _chunks(images)])
        return features.float().permute(0, 3, 1, 2)

    @torch.no_grad()
    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """Return unit embeddings (B, D) of normalised images (B, 3, S, S)."""
        visual = self.on(images.device).model.visual
        return F.normalize(torch.cat([embed_image(visual, chunk) for chunk in _chunks(images)]).float(), dim=-1)

    @torch.no_grad()
    def encode_tokens(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return unit features (N, K, D) of token ids (N, L), and an attention mask (N, K); K is the longest length."""
        features, mask = text_tokens(self.on(ids.device).model, ids)
        length = int(mask.sum(dim=1).max())
        return F.normalize(features[:, :length].float(), dim=-1), mask[:, :length] > 0

    def encode_text(self, texts: Tokens) -> TextFeatures:
        """Return features of texts from :meth:`tokenize`."""
        assert texts.phrases is not None
        tokens, attention_mask = self.encode_tokens(texts.ids)
        expression = tokens[torch.arange(len(tokens), device=tokens.device), texts.ids.argmax(dim=-1)]
        return TextFeatures(tokens, attention_mask, expression, *texts.phrases.unbind(1))

    def on(self, device: torch.device) -> ClipEncoder:
        """Return the encoder on a device."""
        if self.encoder.device != device:
            self.encoder = load_clip(self.name, str(device))
        return self.encoder


class SimilarityMaps(nn.Module):
    """Weighted dot products of dense features and text embeddings; the first one starts unweighted.

    Randomly initialised attention needs thousands of steps to learn dot products. With these maps as input, networks on
    the built-in CLIP know colours and shapes after a few hundred steps.

    Args:
        width: width of the features.
        maps: number of weightings.

    >>> maps = SimilarityMaps(width=16, maps=4)
    >>> maps(torch.randn(2, 16, 8, 8), torch.randn(2, 16)).shape
    torch.Size([2, 4, 8, 8])
    """

    def __init__(self, width: int, maps: int):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(maps, width))
        nn.init.ones_(self.weights[0])

    def forward(self, dense: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """Return maps (N, M, h, w) of features (N, D, h, w) and texts (N, D), both in CLIP's joint space."""
        return ((texts[:, None] * self.weights) @ dense.flatten(2)).unflatten(2, dense.shape[2:])


def _chunks(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return images.split(1) if images.device.type == "cpu" else (images,)
