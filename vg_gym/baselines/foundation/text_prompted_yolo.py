"""YOLO-World and YOLOE through ultralytics: a detector of objects described in words, and a CLIP for the words.

Ultralytics would install a package from a repository to encode texts, or download a compiled program. These classes use
open_clip instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vg_gym import registry
from vg_gym.baselines.detectors.base import coco_names, weights_folder
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.families import checked_prompt
from vg_gym.baselines.foundation.open_vocabulary import class_names
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.loader import load_clip
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.errors import VGGymError, one_line
from vg_gym.features.proposals import proposals, select
from vg_gym.runtime.devices import pick_device
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes

TEXT_CLIPS = {"mobileclip": "MobileCLIP-B:datacompdr_lt", "mobileclip2": "MobileCLIP2-B:dfndr2b"}
"""CLIP names by ultralytics' name of the text model, up to its colon."""


class TextPromptedYolo(ABC):
    """Grounder and proposer over an ultralytics model; subclasses open the model and set its texts.

    Args:
        weights: name of ultralytics weights, which are downloaded, or a local ``.pt`` file; it is read without running
            code.
        text_clip: name of the CLIP that encodes texts, or an encoder; default: the one that the weights were trained
            with.
        prompt: text with ``{}`` for the expression or the name of a class.
        classes: names of classes for proposals, as a list or joined by commas; default: COCO's 80.
        min_score: least confidence of a box.
        max_boxes: largest number of boxes of an image, best first.
        image_size: length in pixels to which the longer side of images is resized.
        device: torch device, or ``auto``.

    Raises:
        VGGymError: ultralytics or the weights are missing, or the file contains another model.
    """

    name: str
    """Name of the grounder."""
    example: str
    """Example of a weights file, for errors."""

    def __init__(
        self,
        weights: str | None = None,
        text_clip: str | ClipEncoder | None = None,
        prompt: str = "{}",
        classes: Sequence[str] | str = (),
        min_score: UnitInterval = 0.001,
        max_boxes: PositiveInt = 50,
        image_size: PositiveInt = 640,
        device: str = "auto",
    ):
        self.prompt, self.image_size = checked_prompt(prompt), image_size
        self.min_score, self.max_boxes = min_score, max_boxes
        self.classes = class_names(classes)
        self.device = pick_device(device)
        self.model, self.path = self._load(weights or registry.proposer_spec(self.name).published or "")
        self.clip = self._text_encoder(text_clip or self.trained_with)

    @abstractmethod
    def open(self, path: str) -> Any:
        """Open the ultralytics model of a file; raises any exception if the file contains another model."""

    @property
    @abstractmethod
    def trained_with(self) -> str:
        """Name of the CLIP that the weights were trained with."""

    @property
    @abstractmethod
    def text_width(self) -> int:
        """Width of a text feature."""

    @abstractmethod
    def tell(self, module: Any, features: torch.Tensor) -> None:
        """Set the texts that one of the model's networks detects.

        Args:
            module: network of the model; ultralytics' predictor has a copy of it.
            features: unit features of the texts, (1, N, D).
        """

    @cached_property
    def source(self) -> str:
        """Weights and prompt of the answers."""
        return f"{self.path.name}@sha256:{fingerprint(self.path)[:16]} prompt={self.prompt!r}"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights, of those of the CLIP, and of the options that change answers."""
        options = self.prompt, self.classes, self.min_score, self.max_boxes, self.image_size
        return fingerprint(self.source, self.clip.fingerprint, options)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Return the best box of every query.

        ``details`` has ``proposals`` (pixels, (P, 4)), ``scores`` (P,) and ``source``.
        """
        refuse_initial_boxes(self.name, initial_boxes)
        return [self._answer(query, self.detect(query.image.array(), [query.expression])) for query in queries]

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Return boxes of the classes in every image, uint8 (H, W, 3), best first."""
        return [self.detect(image, self.classes or coco_names()) for image in images]

    def detect(self, image: np.ndarray, names: Sequence[str]) -> Proposals:
        """Return boxes of the named objects in an image, uint8 (H, W, 3), best first."""
        self._tell(names)
        (result,) = self.model.predict(
            np.ascontiguousarray(image[..., ::-1]),  # ultralytics takes BGR
            imgsz=self.image_size,
            conf=self.min_score,
            max_det=self.max_boxes,
            device=self.device,
            verbose=False,
        )
        boxes = result.boxes.cpu().numpy()
        labels = [names[int(number)] for number in boxes.cls]
        return select(proposals(boxes.xyxy, boxes.conf, labels, image), max_boxes=self.max_boxes)

    def _tell(self, names: Sequence[str]) -> None:
        """Set classes like ``set_classes`` of ultralytics, but with our text features and without a new predictor."""
        features = torch.as_tensor(self.clip.encode_text([self.prompt.replace("{}", name) for name in names]))[None]
        inner = self.model.model
        if len(names) != inner.model[-1].nc:
            self.model.predictor = None  # a predictor has a fixed number of classes
        modules = [inner] if self.model.predictor is None else [inner, self.model.predictor.model.model]
        for module in modules:
            module.model[-1].nc = len(names)
            module.names = dict(enumerate(names))
            self.tell(module, features.to(next(module.parameters()).device))
        if self.model.predictor is not None:
            self.model.predictor.model.names = inner.names

    def _answer(self, query: Query, detected: Proposals) -> Prediction:
        if not len(detected):
            return unanswered(query, f"{self.name}: no box", source=self.source)
        details = {"proposals": detected.boxes, "scores": detected.scores, "source": self.source}
        return Prediction(detected.boxes[0].copy(), float(detected.scores[0]), details)

    def _load(self, weights: str) -> tuple[Any, Path]:
        """Return the ultralytics model and its file.

        Raises:
            VGGymError: the weights do not exist, or belong to another model.
        """
        path = Path(weights) if Path(weights).parent != Path(".") else weights_folder() / weights
        ultralytics_package()
        try:
            return self.open(str(path)), path
        except Exception as error:  # ultralytics raises any exception of its download or its reader
            raise VGGymError(
                f"no weights {weights!r} for {self.name}: {one_line(error)}. Without network give a local file: "
                f"{self.name}.weights=/path/to/{self.example}"
            ) from error

    def _text_encoder(self, text_clip: str | ClipEncoder) -> ClipEncoder:
        try:
            clip = load_clip(text_clip, self.device) if isinstance(text_clip, str) else text_clip
        except VGGymError as error:
            architecture = self.trained_with.partition(":")[0]
            raise VGGymError(
                f"{self.name} reads texts of a CLIP: {error}: {self.name}.text_clip={architecture}:/path/to/weights.pt"
            ) from error
        if clip.dim != self.text_width:
            raise VGGymError(
                f"{self.name} reads texts of width {self.text_width}, and {clip.name} has {clip.dim}; use "
                f"text_clip={self.trained_with}"
            )
        return clip


class YoloWorld(TextPromptedYolo):
    """YOLO-World (Cheng et al., CVPR 2024), which compares regions with texts; the texts also change its feature maps.

    It was trained with the texts of OpenAI's CLIP ViT-B/32, its default ``text_clip``.
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


class Yoloe(TextPromptedYolo):
    """YOLOE (Wang et al., ICCV 2025), which compares regions with texts after a small network adapted the texts.

    Segmentation checkpoints answer with their boxes. It was trained with the texts of MobileCLIP-B (v26:
    MobileCLIP2-B), its default ``text_clip``, of which ultralytics downloads a compiled copy. open_clip has the same
    models; ``text_clip=MobileCLIP-B:/path/to/weights.safetensors`` loads one from a file.
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
