"""YOLO-World (Cheng et al., CVPR 2024) through ultralytics, as a grounder and as a proposer.

It was trained with the texts of OpenAI's CLIP ViT-B/32.
"""

from __future__ import annotations

from typing import Any

import torch

from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.text_prompted_yolo import TextPromptedYolo


class YoloWorld(TextPromptedYolo):
    """A YOLO that compares regions with texts, which also shape its feature maps.

    Its ``text_clip`` is ``ViT-B-32-quickgelu:openai`` by default.
    """

    name, example = "yolo-world", "yolov8s-worldv2.pt"
    trained_with = "ViT-B-32-quickgelu:openai"

    def open(self, path: str) -> Any:
        """An ``ultralytics.YOLOWorld``."""
        model = ultralytics_package().YOLOWorld(path)
        _ = model.model.txt_feats
        return model

    @property
    def text_width(self) -> int:
        """Length of a text feature."""
        return self.model.model.txt_feats.shape[-1]

    def tell(self, module: Any, features: torch.Tensor) -> None:
        """Set the texts (1, N, D) that a network looks for."""
        module.txt_feats = features
