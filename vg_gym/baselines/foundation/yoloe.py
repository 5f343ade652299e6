"""YOLOE (Wang et al., ICCV 2025) through ultralytics, as a grounder and as a proposer.

It was trained with the texts of MobileCLIP-B (v26: MobileCLIP2-B), of which ultralytics downloads a compiled copy.
open_clip has the same models; ``text_clip=MobileCLIP-B:/path/to/weights.safetensors`` loads one from a file.
"""

from __future__ import annotations

from typing import Any

import torch

from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.text_prompted_yolo import TextPromptedYolo
from vg_gym.errors import VGGymError

TEXT_CLIPS = {"mobileclip": "MobileCLIP-B:datacompdr_lt", "mobileclip2": "MobileCLIP2-B:dfndr2b"}
"""CLIP names by ultralytics' name of the text model, up to its colon."""


class Yoloe(TextPromptedYolo):
    """YOLO that compares regions with texts after a small network adapted the texts.

    Segmentation checkpoints answer with their boxes. Its ``text_clip`` is ``MobileCLIP-B:datacompdr_lt`` by default, or
    ``MobileCLIP2-B:dfndr2b`` for the checkpoints of v26.
    """

    name, example = "yoloe", "yoloe-11l-seg.pt"

    def open(self, path: str) -> Any:
        """Open an ``ultralytics.YOLOE`` that accepts texts.

        Raises:
            VGGymError: the file contains another model, or one with built-in classes.
        """
        model = ultralytics_package().YOLOE(path)
        head = model.model.model[-1]
        if not hasattr(head, "get_tpe"):
            raise VGGymError("the file does not contain a YOLOE")
        if hasattr(head, "lrpc") or head.is_fused:
            raise VGGymError("its classes are built in (a -pf checkpoint); use one that accepts texts")
        return model

    @property
    def trained_with(self) -> str:
        """Name of the CLIP that the weights were trained with."""
        kind = getattr(self.model.model, "text_model", "mobileclip:blt").partition(":")[0]
        return TEXT_CLIPS.get(kind, TEXT_CLIPS["mobileclip"])

    @property
    def text_width(self) -> int:
        """Width of a text feature."""
        return self.model.model.model[-1].embed

    @torch.no_grad()
    def tell(self, module: Any, features: torch.Tensor) -> None:
        """Set the features of the texts that a network detects, (1, N, D), after its head adapted them."""
        module.pe = module.model[-1].get_tpe(features)
