"""Presence: a small head on a trained network that tells whether an expression means anything in the image.

The networks were trained on expressions that mean exactly one object, so that their own confidence tells little. The
head attends to the tokens of image and text that a network joins, and the network itself stays as it is: so do its
boxes. Its weights, ``presence.safetensors``, lie beside those of the network.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from vg_gym.storage.half_precision import half_precision

FILE = "presence.safetensors"
"""Name of the weights in the folder of the network."""
QUERIES, LAYERS, HEADS, HIDDEN = 4, 2, 4, 256
"""Number of learned queries, of layers, of attention heads, and width of the hidden layers."""


class PresenceHead(nn.Module):
    """Decoder of a few queries over joint tokens, with one logit.

    Args:
        width: width of the tokens.
    """

    def __init__(self, width: int):
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        self.queries = nn.Parameter(torch.randn(1, QUERIES, width) * 0.02)
        layer = nn.TransformerDecoderLayer(width, HEADS, HIDDEN, dropout=0.0, batch_first=True, norm_first=True)
        self.decoder = nn.TransformerDecoder(layer, LAYERS)
        self.leave = nn.Sequential(
            nn.Flatten(),
            nn.LayerNorm(QUERIES * width),
            nn.Linear(QUERIES * width, width),
            nn.GELU(),
            nn.Linear(width, 1),
        )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits (N,) that something is meant, of joint tokens (N, S, width) and their padding mask (N, S)."""
        queries = self.queries.expand(len(tokens), -1, -1)
        return self.leave(self.decoder(queries, self.enter(tokens), memory_key_padding_mask=mask))[:, 0]

    def save(self, folder: Path) -> None:
        """Write the weights into a folder, in fp16."""
        save_file(half_precision(self), folder / FILE)
