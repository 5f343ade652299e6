"""Text encoders: BERT and RoBERTa of transformers, at published sizes or others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from vg_gym.errors import VGGymError, importing
from vg_gym.learned.frozen_clip import FrozenClip
from vg_gym.learned.tokenization import HubTokenizer, Tokens
from vg_gym.learned.weights import load_strictly

PUBLISHED: dict[str, dict[str, int]] = {
    "bert-base-uncased": {"vocab_size": 30522},
    "roberta-base": {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
}
"""What differs from BERT's defaults in the published text encoders."""


def text_encoder(kind: str, sizes: dict[str, Any]) -> Any:
    """An untrained ``bert`` or ``roberta`` of transformers.

    Args:
        kind: which.
        sizes: of its config, where they are not BERT-base's.

    Raises:
        VGGymError: transformers is not installed.
    """
    with importing("a learned grounder", "transformers", "detr"):
        from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel
    if kind == "bert":
        return BertModel(BertConfig(**{"layer_norm_eps": 1e-12, **sizes}))
    return RobertaModel(RobertaConfig(**{"layer_norm_eps": 1e-5, **sizes}))


def load_tokenizer(name: str, clip: str, length: int, fixed: bool) -> Callable[[Sequence[str]], Tokens]:
    """A function from texts to tokens.

    Args:
        name: ``clip``, or a tokenizer of transformers (hub name or folder).
        clip: name of the CLIP whose tokenizer ``clip`` stands for.
        length: most tokens of a text.
        fixed: pad all texts to ``length``, else to the longest; a CLIP always pads to ``length``.

    Raises:
        VGGymError: there is no such tokenizer.
    """
    if name == "clip":
        return partial(FrozenClip(clip).tokenize, length=length)
    return HubTokenizer(name, length, fixed)


def load_pretrained_text(encoder: Any, weights: str) -> None:
    """Give a text encoder pretrained weights of its architecture.

    Args:
        encoder: of :func:`text_encoder`.
        weights: name on the hub or local folder.

    Raises:
        VGGymError: there are no such weights, or they are of another size.
    """
    try:
        found = type(encoder).from_pretrained(weights, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise VGGymError(
            f"no text encoder {weights!r}: {str(error).splitlines()[0][:200]}. Without hub access give a folder, "
            "options.text_weights=FOLDER, or start at random, options.text_weights=null"
        ) from error
    load_strictly(encoder, found.state_dict(), weights)


class TextBranch(nn.Module):
    """BERT under the name that TransVG's checkpoints give it; the features of one of its layers.

    Args:
        bert: the network.
        layer: number of the layer, from 1.
    """

    def __init__(self, bert: Any, layer: int):
        super().__init__()
        self.bert, self.layer = bert, layer

    def forward(self, ids: torch.Tensor, padding_mask: torch.Tensor) -> torch.Tensor:
        """Ids (N, L) and padding mask (N, L) to features (N, L, D)."""
        hidden = self.bert(ids, attention_mask=(~padding_mask).long(), output_hidden_states=True).hidden_states
        return hidden[self.layer]
