"""Text encoders: BERT and RoBERTa of transformers, with published or other sizes."""

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

PUBLISHED_CONFIGS: dict[str, dict[str, int]] = {
    "bert-base-uncased": {"vocab_size": 30522},
    "roberta-base": {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
}
"""Entries of the published text encoders' configs that differ from BERT's defaults."""


def text_encoder(kind: str, sizes: dict[str, Any]) -> Any:
    """Build an untrained text encoder of transformers.

    Args:
        kind: ``bert`` or ``roberta``.
        sizes: entries of its config that differ from BERT-base.

    Raises:
        VGGymError: transformers is not installed.
    """
    with importing("a learned grounder", "transformers", "detr"):
        from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel
    if kind == "bert":
        return BertModel(BertConfig(**{"layer_norm_eps": 1e-12, **sizes}))
    return RobertaModel(RobertaConfig(**{"layer_norm_eps": 1e-5, **sizes}))


def load_tokenizer(name: str, clip: str, length: int, fixed: bool) -> Callable[[Sequence[str]], Tokens]:
    """Return a function from texts to tokens.

    Args:
        name: ``clip``, or a tokenizer of transformers (hub name or folder).
        clip: name of the CLIP whose tokenizer the name ``clip`` selects.
        length: largest number of tokens of a text.
        fixed: pad all texts to ``length``, else to the longest text; a CLIP always pads to ``length``.

    Raises:
        VGGymError: the tokenizer does not exist.
    """
    if name == "clip":
        return partial(FrozenClip(clip).tokenize, length=length)
    return HubTokenizer(name, length, fixed)


def load_pretrained_text(encoder: Any, weights: str) -> None:
    """Load pretrained weights of the same architecture into a text encoder.

    Args:
        encoder: encoder from :func:`text_encoder`.
        weights: name on the hub or local folder.

    Raises:
        VGGymError: the weights do not exist, or have another size.
    """
    try:
        pretrained = type(encoder).from_pretrained(weights, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise VGGymError(
            f"no text encoder {weights!r}: {str(error).splitlines()[0][:200]}. Without hub access give a folder, "
            "options.text_weights=FOLDER, or start at random, options.text_weights=null"
        ) from error
    load_strictly(encoder, pretrained.state_dict(), weights)


class TextBranch(nn.Module):
    """Features of one layer of BERT, under the parameter names of TransVG's checkpoints.

    Args:
        bert: text encoder.
        layer: number of the layer, from 1.
    """

    def __init__(self, bert: Any, layer: int):
        super().__init__()
        self.bert, self.layer = bert, layer

    def forward(self, ids: torch.Tensor, padding_mask: torch.Tensor) -> torch.Tensor:
        """Return features (N, L, D) of ids (N, L) with a padding mask (N, L)."""
        hidden = self.bert(ids, attention_mask=(~padding_mask).long(), output_hidden_states=True).hidden_states
        return hidden[self.layer]
