"""DETR (Carion et al., ECCV 2020) and RT-DETR (Zhao et al., CVPR 2024) through transformers.

``weights`` is a name on the hub (``facebook/detr-resnet-50``, ``PekingU/rtdetr_r18vd``) or a local folder in
transformers' layout. Its config names the model class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from vg_gym import boxes as box_ops
from vg_gym.baselines.detectors.base import DetectionBatch, Detector, missing_weights
from vg_gym.baselines.detectors.detr_backbone import EXAMPLE
from vg_gym.config import PositiveInt, UnitInterval, check_options
from vg_gym.errors import importing
from vg_gym.features.proposals import proposals
from vg_gym.storage.assets import built_in
from vg_gym.types import Proposals, Proposer


def _transformers() -> Any:
    with importing("DETR", "transformers", "detr"):
        import transformers
    return transformers


class Detr(Detector):
    """DETR-like detector as a proposer.

    Args:
        module: a transformers model for object detection.
        processor: image processor of the model.
        min_score: minimum confidence.
        batch_size: images per forward pass.
        device: torch device.
    """

    def __init__(
        self,
        module: Any,
        processor: Any,
        min_score: UnitInterval = 0.05,
        batch_size: PositiveInt = 16,
        device: str = "cpu",
    ):
        names = module.config.id2label
        size = processor.size["shortest_edge"] if "shortest_edge" in processor.size else processor.size["height"]
        categories = [names[i] for i in sorted(names)]
        super().__init__("detr", module.eval(), categories, size, device, batch_size, {"min_score": min_score})
        self.processor = processor

    @classmethod
    def small(cls, categories: Sequence[str], image_size: int = 128, width: int = 96, queries: int = 30) -> Detr:
        """Build an untrained RT-DETR of 1.6 million weights: four residual blocks, two decoder layers.

        Args:
            categories: names of the categories.
            image_size: side of an image in pixels.
            width: width of encoder and decoder.
            queries: number of object queries, and so the maximum number of proposals per image.
        """
        t = _transformers()
        channels = [width // 3, width // 2, width, width * 5 // 3]
        backbone = t.RTDetrResNetConfig(
            embedding_size=channels[0],
            hidden_sizes=channels,
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        config = t.RTDetrConfig(
            backbone_config=backbone,
            freeze_backbone_batch_norms=False,
            encoder_hidden_dim=width,
            encoder_in_channels=channels[1:],
            decoder_in_channels=[width] * 3,
            d_model=width,
            encoder_ffn_dim=2 * width,
            decoder_ffn_dim=2 * width,
            hidden_expansion=0.5,
            encoder_attention_heads=3,
            decoder_attention_heads=3,
            decoder_layers=2,
            num_queries=queries,
            num_denoising=40,
            id2label=dict(enumerate(categories)),
            label2id={name: i for i, name in enumerate(categories)},
        )
        processor = t.RTDetrImageProcessor(size={"height": image_size, "width": image_size})
        return cls(t.RTDetrForObjectDetection(config), processor)

    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Return the loss of the model: matched class, L1 and GIoU losses of every layer, with published weights."""
        size = batch.images.shape[-1]
        labels = []
        for boxes, classes in zip(batch.boxes, batch.labels, strict=True):
            labels.append({"class_labels": classes, "boxes": box_ops.to_cxcywh(boxes) / size})
        return {"detr": self.module(pixel_values=batch.images, labels=labels).loss}

    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return the proposals of a batch of images (H, W, 3) uint8."""
        # Without input_data_format, the processor takes the rows of an image of height 1, 3 or 4 for channels.
        inputs = self.processor(images=list(images), input_data_format="channels_last", return_tensors="pt")
        inputs = inputs.to(self.device)
        with torch.inference_mode():
            outputs = self.module(**inputs)
        sizes = [image.shape[:2] for image in images]
        results = self.processor.post_process_object_detection(
            outputs, threshold=self.settings["min_score"], target_sizes=sizes
        )
        names = self.module.config.id2label
        return [
            proposals(r["boxes"].cpu(), r["scores"].cpu(), [names[int(c)] for c in r["labels"]], image)
            for image, r in zip(images, results, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write a folder in transformers' layout, with weights in fp16."""
        self.module.half().save_pretrained(folder)
        self.module.float()
        self.processor.save_pretrained(folder)


def load_detr(weights: str = "refshapes", device: str = "cpu", **options: Any) -> Proposer:
    """Load a DETR or RT-DETR by hub name or local folder; ``options`` are those of :class:`Detr`.

    Raises:
        VGGymError: transformers or the weights are missing, or the folder does not hold a detector.
    """
    check_options("detr", Detr, options, fixed=("module", "processor"))
    t = _transformers()
    place = str(built_in("detr", weights) or weights)
    try:
        module, loading = t.AutoModelForObjectDetection.from_pretrained(
            place, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
        processor = t.AutoImageProcessor.from_pretrained(place)
    except (OSError, ValueError, SafetensorError) as error:
        raise missing_weights("detr", weights, error, EXAMPLE) from error
    if missing := sorted(loading["missing_keys"]):  # transformers initialises missing tensors at random
        lacking = f"{len(missing)} tensors are missing: {', '.join(missing[:3])}"
        raise missing_weights("detr", weights, lacking, EXAMPLE)
    return Detr(module, processor, device=device, **options)
