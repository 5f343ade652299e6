"""Segment Anything (Kirillov et al., ICCV 2023): automatic masks as proposals.

``weights`` is a model of segment-anything (``vit_b``, ``vit_l``, ``vit_h``; downloaded), ``vit_b:FILE`` with a local
checkpoint, a MobileSAM or SAM 2 checkpoint that ultralytics reads (``mobile_sam.pt``, ``sam2.1_t.pt``), or a folder
that ``train_detector.py`` wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vg_gym.baselines.detectors.base import (
    DetectionBatch,
    Detector,
    load_weights,
    missing_weights,
    read_config,
    read_state,
    save_folder,
    weights_folder,
)
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.masks import from_masks, resize_mask
from vg_gym.clip.crops import resize
from vg_gym.config import PositiveInt, UnitInterval, check_options
from vg_gym.errors import importing
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import fingerprint
from vg_gym.types import Proposals, Proposer

URL = "https://dl.fbaipublicfiles.com/segment_anything/"
"""Download address of segment-anything's checkpoints."""
FILES = {"vit_b": "sam_vit_b_01ec64.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_h": "sam_vit_h_4b8939.pth"}
"""Model of segment-anything -> file of its published checkpoint."""
SMALL: dict[str, Any] = {"points_per_side": 12, "min_score": 0.5, "min_stability": 0.7}
"""Settings of the small model, whose masks are rougher and have lower predicted quality."""


def _segment_anything() -> Any:
    with importing("SAM", "segment-anything", "sam"):
        import segment_anything
    return segment_anything


class Sam(Detector):
    """SAM's automatic masks as proposals. Labels are empty, and scores are the predicted mask quality.

    Defaults are the published values.

    Args:
        module: a segment-anything ``Sam``.
        points_per_side: number of point prompts along each side of the image.
        min_score: minimum predicted IoU of a mask.
        min_stability: minimum IoU between the versions of a mask at two shifted thresholds.
        nms_iou: IoU of boxes above which the lower-scored mask is removed.
        largest: maximum side of a box as a fraction of the image's side, which excludes the background.
        device: torch device.
        stretch: stretch images to a square as in ``train_detector.py``; published weights were trained without.
    """

    def __init__(
        self,
        module: Any,
        points_per_side: PositiveInt = 32,
        min_score: UnitInterval = 0.88,
        min_stability: UnitInterval = 0.95,
        nms_iou: UnitInterval = 0.7,
        largest: UnitInterval = 0.98,
        device: str = "cpu",
        stretch: bool = False,
    ):
        settings = {
            "points_per_side": points_per_side,
            "min_score": min_score,
            "min_stability": min_stability,
            "nms_iou": nms_iou,
            "largest": largest,
        }
        super().__init__("sam", module.eval(), (), module.image_encoder.img_size, device, settings=settings)
        self.stretch = stretch

    @classmethod
    def small(cls, categories: Sequence[str] = (), image_size: int = 128, width: int = 96, depth: int = 3) -> Sam:
        """Build an untrained SAM of 0.8 million weights: patches of 8 pixels, three ViT blocks, the published decoder.

        Args:
            categories: ignored; SAM does not use categories.
            image_size: side of an image in pixels.
            width: width of the image encoder.
            depth: number of blocks of the image encoder.
        """
        _segment_anything()
        from segment_anything import modeling

        grid, inner = image_size // 8, 64
        encoder = modeling.ImageEncoderViT(
            img_size=image_size,
            patch_size=8,
            embed_dim=width,
            depth=depth,
            num_heads=4,
            mlp_ratio=4,
            out_chans=inner,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            global_attn_indexes=tuple(range(depth)),
        )
        prompts = modeling.PromptEncoder(inner, (grid, grid), (image_size, image_size), mask_in_chans=16)
        transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=inner, mlp_dim=256, num_heads=4)
        decoder = modeling.MaskDecoder(transformer_dim=inner, transformer=transformer, iou_head_hidden_dim=inner)
        return cls(modeling.Sam(encoder, prompts, decoder), stretch=True, **SMALL)

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes proposals."""
        return fingerprint(super().fingerprint, self.stretch)

    def losses(self, batch: DetectionBatch) -> dict[str, torch.Tensor]:
        """Return the focal, dice and quality losses.

        Each image has one point prompt per object and one on the background. As published, the loss covers only the
        best of the three masks of a prompt. For the background it covers only the quality, with target 0. The quality
        of a mask is its IoU with the object's mask.
        """
        sam: Any = self.module
        images = torch.stack([sam.preprocess(image * 255) for image in batch.images])
        embedded = sam.image_encoder(images)
        terms = [
            self._image_losses(embedded[i], batch.segments[i], len(batch.boxes[i])) for i in range(len(batch.images))
        ]
        return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    def _image_losses(self, embedded: torch.Tensor, segments: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
        points, truth = _prompts(segments, count)
        logits, quality = self._decode(embedded, points)
        target = F.interpolate(truth[:, None], size=logits.shape[-2:], mode="area").expand(-1, 3, -1, -1)
        probability = logits.sigmoid()
        focal = _focal(logits, target).mean((2, 3))
        overlap = (probability * target).sum((2, 3))
        dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
        best = (20 * focal + dice)[:count].argmin(dim=1, keepdim=True)
        with torch.no_grad():
            hard, real = logits > 0, target > 0.5
            iou = (hard & real).sum((2, 3)) / (hard | real).sum((2, 3)).clamp(min=1)
        return {
            "focal": 20 * focal[:count].gather(1, best).mean(),
            "dice": dice[:count].gather(1, best).mean(),
            "quality": (quality - iou).square().mean(),
        }

    def _decode(self, embedded: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sam: Any = self.module
        ones = torch.ones(len(points), 1, device=points.device)
        sparse, dense = sam.prompt_encoder(points=(points[:, None], ones), boxes=None, masks=None)
        return sam.mask_decoder(
            image_embeddings=embedded[None],
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

    def propose_batch(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return proposals with masks of images (H, W, 3) uint8; segment-anything takes one image at a time."""
        settings = self.settings
        generator = _segment_anything().SamAutomaticMaskGenerator(
            self.module,
            points_per_side=settings["points_per_side"],
            points_per_batch=256,
            pred_iou_thresh=settings["min_score"],
            stability_score_thresh=settings["min_stability"],
            box_nms_thresh=settings["nms_iou"],
        )
        inputs = [resize(image, self.image_size) if self.stretch else image for image in images]
        return [self._masks(image, generator.generate(pixels)) for image, pixels in zip(images, inputs, strict=True)]

    def _masks(self, image: np.ndarray, records: list[dict[str, Any]]) -> Proposals:
        height, width = image.shape[:2]
        masks = np.array([resize_mask(m["segmentation"], height, width) for m in records], bool).reshape(
            -1, height, width
        )
        return from_masks(masks, np.array([m["predicted_iou"] for m in records]), image, self.settings["largest"])

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        save_folder(self.module, folder, image_size=self.image_size, **self.settings)


def _prompts(segments: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a random point in every object and one on the background.

    Args:
        segments: number of the object at each pixel, from 1 on, and 0 on the background, (S, S).
        count: number of objects.

    Returns:
        Points (count + 1, 2) and their masks (count + 1, S, S); the last ones are the background's.
    """
    points, truth = [], []
    for number in (*range(1, count + 1), 0):
        mask = segments == number
        inside = mask.nonzero()
        point = inside[torch.randint(len(inside), ())] if len(inside) else torch.zeros(2, device=segments.device)
        points.append(point.flip(0).float() + 0.5)
        truth.append(mask.float() if number else torch.zeros_like(mask, dtype=torch.float32))
    return torch.stack(points), torch.stack(truth)


def _focal(logits: torch.Tensor, target: torch.Tensor, gamma: float = 2.0) -> torch.Tensor:
    """Return the focal loss per pixel, with the published class weight of 0.25."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = torch.exp(-entropy)
    weight = torch.where(target > 0.5, 0.25, 0.75)
    return weight * (1 - right) ** gamma * entropy


class UltralyticsSam:
    """Automatic masks of MobileSAM (Zhang et al. 2023) or SAM 2 (Ravi et al. 2024) through ultralytics, as proposals.

    Args:
        path: a checkpoint, or one of ultralytics' names.
        image_size: longer side in pixels to which images are resized.
        min_score: minimum confidence of a mask.
        device: torch device.

    Raises:
        OSError: the checkpoint cannot be downloaded, or holds more than tensors.
    """

    def __init__(self, path: str, image_size: PositiveInt = 1024, min_score: UnitInterval = 0.5, device: str = "cpu"):
        package = ultralytics_package()
        path = package.utils.downloads.attempt_download_asset(path)
        read_state(path)  # ultralytics unpickles any object, so the file must hold tensors only
        self.name, self.model, self.image_size = "sam", package.SAM(path), image_size
        self.fingerprint = fingerprint(Path(path), image_size, min_score)
        self.min_score, self.device = min_score, device

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return proposals with masks of every image (H, W, 3) uint8."""
        predictions = []
        for image in images:
            bgr = np.ascontiguousarray(image[..., ::-1])
            result = self.model.predict(
                bgr, imgsz=self.image_size, conf=self.min_score, device=self.device, verbose=False
            )[0]
            masks = np.zeros((0, *image.shape[:2]), bool)
            scores = np.zeros(0)
            if result.masks is not None:
                masks, scores = result.masks.data.cpu().numpy().astype(bool), result.boxes.conf.cpu().numpy()
            predictions.append(from_masks(masks, scores, image, 0.98))
        return predictions


def load_sam(weights: str = "refshapes", device: str = "cpu", **options: Any) -> Proposer:
    """Load a SAM by the name of its weights; ``options`` are those of :class:`Sam` or :class:`UltralyticsSam`.

    Raises:
        VGGymError: a package or the weights are missing, or the file belongs to another model.
    """
    light = weights.endswith(".pt") and ":" not in weights
    check_options("sam", UltralyticsSam if light else Sam, options, fixed=("module", "path"))
    folder = built_in("sam", weights) or Path(weights)
    example = "vit_b:/path/to/sam_vit_b_01ec64.pth"
    try:
        if folder.is_dir():
            return _load_folder(folder, device, **options)
        name, _, file = weights.partition(":")
        if name in FILES:
            return Sam(_published(name, file), device=device, **options)
        if weights.endswith(".pt"):
            path = weights if Path(weights).is_file() else str(weights_folder() / weights)
            return UltralyticsSam(path, device=device, **options)
    except (OSError, RuntimeError, NotImplementedError, ConnectionError) as error:
        raise missing_weights("sam", weights, error, example) from error
    raise missing_weights("sam", weights, f"known models: {', '.join(FILES)}, or a .pt that ultralytics reads", example)


def _published(name: str, file: str) -> Any:
    """Build a published model with weights from a local file, or else downloaded."""
    if file:
        state = read_state(file)
    else:
        state = torch.hub.load_state_dict_from_url(
            URL + FILES[name], model_dir=str(weights_folder()), map_location="cpu", weights_only=True
        )
    sam = _segment_anything().sam_model_registry[name]()
    sam.load_state_dict(state)
    return sam


def _load_folder(folder: Path, device: str, **options: Any) -> Sam:
    config = read_config(folder)
    sam = Sam.small(image_size=config.pop("image_size"))
    load_weights(sam.module, folder)
    return Sam(sam.module, device=device, **{"stretch": True, **config, **options})
