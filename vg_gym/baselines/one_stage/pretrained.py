"""Where the branches of a published-size network start."""

from __future__ import annotations

from typing import Any

from torch import nn

from vg_gym.baselines.one_stage.backbone import start_pretrained
from vg_gym.baselines.one_stage.text import start_text


def start_branches(body: nn.Module, text: Any, options: Any) -> None:
    """Give backbone and text encoder the weights that ``backbone_weights`` and ``text_weights`` name, if they do."""
    if options.backbone_weights:
        start_pretrained(body, options.backbone, options.backbone_weights)
    if options.text_weights:
        start_text(text, options.text_weights)
