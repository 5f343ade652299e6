"""What a frozen CLIP says about pictures and expressions, for networks that read it and do not train it."""

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
class Words:
    """Expressions.

    ``tokens`` (N, L, D), ``seen`` (N, L) bool; ``whole``, ``head`` and ``anchor`` (N, D), embeddings of each and of its
    noun phrases, the last zero where it has no anchor.
    """

    tokens: torch.Tensor
    seen: torch.Tensor
    whole: torch.Tensor
    head: torch.Tensor
    anchor: torch.Tensor


class FrozenClip:
    """A CLIP by name, with no gradient and no place in anybody's weights.

    Not a module, and shared by copies of what holds it: a checkpoint, or a moving average, has no second CLIP in it.

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
        """The model's own size and normalisation; pictures are squashed, as :class:`ClipEncoder` does."""
        preprocess = self.encoder.model.visual.preprocess_cfg
        size = self.encoder.image_size
        return Canvas("square", size, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"]))

    def tokenize(self, texts: Sequence[str], length: int | None = None) -> Tokens:
        """Texts as CLIP's tokens, at most ``length``; the end token has the highest id."""
        ids = self.encoder.tokenizer(list(texts))[:, :length]
        place, end = torch.arange(ids.shape[1]), ids.argmax(dim=1, keepdim=True)
        return Tokens(ids, place > end, (place > 0) & (place < end), self._phrases(texts))

    def _phrases(self, texts: Sequence[str]) -> torch.Tensor:
        """Unit embeddings (N, 2, D) of head and anchor; each distinct phrase is encoded once."""
        phrases = [phrase for text in texts for phrase in noun_phrases(text)]
        found = torch.from_numpy(self.encoder.encode_text(phrases)).clone()
        found[[not phrase for phrase in phrases]] = 0.0
        return found.unflatten(0, (-1, 2))

    @torch.no_grad()
    def dense(self, images: torch.Tensor) -> torch.Tensor:
        """Features (B, D, g, g) of normalised pictures (B, 3, S, S): :meth:`ClipEncoder.encode_dense`, channels first.

        One by one on a CPU, as there: a picture's features must not depend on its neighbours.
        """
        visual, mode = self.on(images.device).model.visual, self.encoder.dense
        found = torch.cat([dense_tokens(visual, part, mode) for part in self._parts(images)])
        return found.float().permute(0, 3, 1, 2)

    @torch.no_grad()
    def whole(self, images: torch.Tensor) -> torch.Tensor:
        """Embeddings (B, D) of whole pictures, unit length."""
        visual = self.on(images.device).model.visual
        return F.normalize(torch.cat([embed_image(visual, part) for part in self._parts(images)]).float(), dim=-1)

    @torch.no_grad()
    def features(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids (N, L) as unit-length features (N, K, D), cut to the longest text, and which are there (N, K)."""
        features, mask = text_tokens(self.on(ids.device).model, ids)
        length = int(mask.sum(dim=1).max())
        return F.normalize(features[:, :length].float(), dim=-1), mask[:, :length] > 0

    def read(self, texts: Tokens) -> Words:
        """What CLIP says of the texts of :meth:`tokenize`."""
        assert texts.phrases is not None
        tokens, seen = self.features(texts.ids)
        whole = tokens[torch.arange(len(tokens), device=tokens.device), texts.ids.argmax(dim=-1)]
        return Words(tokens, seen, whole, *texts.phrases.unbind(1))

    @staticmethod
    def _parts(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return images.split(1) if images.device.type == "cpu" else (images,)

    def on(self, device: torch.device) -> ClipEncoder:
        """The encoder on a device."""
        if self.encoder.device != device:
            self.encoder = load_clip(self.name, str(device))
        return self.encoder
