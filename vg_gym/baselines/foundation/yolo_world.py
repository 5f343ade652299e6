"""YOLO-World (Cheng et al., CVPR 2024) through ultralytics, as a grounder and as a proposer.

It was trained with the texts of OpenAI's CLIP ViT-B/32.
"""

from __future__ import annotations

from typing import Any

import torch

from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.text_prompted_yolo import TextPromptedYolo


class YoloWorld(TextPromptedYolo):
    """YOLO that compares regions with texts; the texts also change its feature maps.

    Its ``text_clip`` is ``ViT-B-32-quickgelu:openai`` by default.
    """

    name, example = "yolo-world", "yolov8s-worldv2.pt"
    trained_with = "ViT-B-32-quickgelu:openai"

    def open(self, path: str) -> Any:
        """Open an ``ultralytics.YOLOWorld``."""
        model = ultralytics_package().YOLOWorld(path)
        _ = model.model.txt_feats
        return model

    @property
    def text_width(self) -> int:
        """Width of a text feature."""
        return self.model.model.txt_feats.shape[-1]

    def tell(self, module: Any, features: torch.Tensor) -> None:
        """Set the features of the texts that a network detects, (1, N, D)."""
        module.txt_feats = features
