"""YOLOE (Wang et al., ICCV 2025) through ultralytics, as a grounder and as a proposer.

It was trained with the texts of MobileCLIP-B (v26: MobileCLIP2-B), of which ultralytics fetches a compiled copy.
open_clip has the same models; a file of one is given as ``text_clip=MobileCLIP-B:/path/to/weights.safetensors``.
"""

from __future__ import annotations

from typing import Any

import torch

from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.text_prompted_yolo import TextPromptedYolo
from vg_gym.errors import VGGymError

TEXT_CLIPS = {"mobileclip": "MobileCLIP-B:datacompdr_lt", "mobileclip2": "MobileCLIP2-B:dfndr2b"}
"""Ultralytics' name of a text model, up to its colon -> open_clip's name of the whole."""


class Yoloe(TextPromptedYolo):
    """A YOLO that compares regions with texts, after a small network that fits the texts to it.

    Checkpoints that segment answer by their boxes. Its ``text_clip`` is ``MobileCLIP-B:datacompdr_lt`` by default, or
    ``MobileCLIP2-B:dfndr2b`` for the checkpoints of v26.
    """

    name, example = "yoloe", "yoloe-11l-seg.pt"

    def open(self, path: str) -> Any:
        """An ``ultralytics.YOLOE`` that can still be told.

        Raises:
            VGGymError: the file holds another model, or one whose classes are built in.
        """
        model = ultralytics_package().YOLOE(path)
        head = model.model.model[-1]
        if not hasattr(head, "get_tpe"):
            raise VGGymError("the file holds no YOLOE")
        if hasattr(head, "lrpc") or head.is_fused:
            raise VGGymError("its classes are built in (a -pf checkpoint); take one that is told them")
        return model

    @property
    def trained_with(self) -> str:
        """Name of the CLIP whose texts the weights know."""
        kind = getattr(self.model.model, "text_model", "mobileclip:blt").partition(":")[0]
        return TEXT_CLIPS.get(kind, TEXT_CLIPS["mobileclip"])

    @property
    def text_width(self) -> int:
        """Length of a text feature."""
        return self.model.model.model[-1].embed

    @torch.no_grad()
    def tell(self, module: Any, features: torch.Tensor) -> None:
        """Set the texts (1, N, D) that a network looks for, fitted by its own head."""
        module.pe = module.model[-1].get_tpe(features)
