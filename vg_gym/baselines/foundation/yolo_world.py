"""YOLO-World (Cheng et al., CVPR 2024) through ultralytics, as a grounder and as a proposer.

It was trained with the texts of OpenAI's CLIP ViT-B/32. They are encoded here by open_clip with those weights, as
ultralytics would install a package of its own from a repository for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vg_gym import registry
from vg_gym.baselines.detectors.base import weights_folder
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.baselines.foundation.open_vocabulary import class_names, coco_names
from vg_gym.baselines.foundation.unanswered import unanswered
from vg_gym.clip.encoder import ClipEncoder, load_clip
from vg_gym.config import PositiveInt, UnitInterval
from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import proposals, select
from vg_gym.storage.files import fingerprint
from vg_gym.types import Prediction, Proposals, Query, refuse_initial_boxes


class YoloWorld:
    """A YOLO that is told in words what to look for.

    Args:
        weights: a name of ultralytics, which is fetched, or a local ``.pt`` file; it is read without running code.
        text_clip: name of the CLIP that encodes texts, or an encoder; its width is the detector's.
        prompt: text with ``{}`` for the expression, or for the name of a class.
        classes: names to propose boxes for, a list or joined by commas; default: COCO's 80.
        min_score: least confidence of a box.
        max_boxes: most boxes of an image, best first.
        image_size: longer side in pixels to which images are resized.
        device: torch device, or ``auto``.

    Raises:
        VGGymError: ultralytics or the weights are missing, or the file is no YOLO-World.
    """

    name = "yolo-world"

    def __init__(
        self,
        weights: str | None = None,
        text_clip: str | ClipEncoder = "ViT-B-32:openai",
        prompt: str = "{}",
        classes: Sequence[str] | str = (),
        min_score: UnitInterval = 0.001,
        max_boxes: PositiveInt = 50,
        image_size: PositiveInt = 640,
        device: str = "auto",
    ):
        self.prompt, self.min_score, self.max_boxes, self.image_size = prompt, min_score, max_boxes, image_size
        self.classes = class_names(classes)
        self.device = pick_device(device)
        self.model, self.path = _load(weights or registry.published_weights(self.name) or "")
        self.clip = load_clip(text_clip, self.device) if isinstance(text_clip, str) else text_clip
        if self.clip.dim != self.model.model.txt_feats.shape[-1]:
            raise VGGymError(
                f"{self.name} reads texts of width {self.model.model.txt_feats.shape[-1]}, and {self.clip.name} has "
                f"{self.clip.dim}; take text_clip=ViT-B-32:openai"
            )

    @cached_property
    def source(self) -> str:
        """Which weights and which prompt answer."""
        return f"{self.path.name}@sha256:{fingerprint(self.path)[:16]} prompt={self.prompt!r}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, of those of the CLIP, and of what is asked."""
        asked = self.prompt, self.classes, self.min_score, self.max_boxes, self.image_size
        return fingerprint(self.source, self.clip.fingerprint, asked)

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """The best box of every query; ``details``: ``proposals`` (P, 4) pixels, ``scores`` (P,), ``source``."""
        refuse_initial_boxes(self.name, initial_boxes)
        return [self._answer(query, self.detect(query.image.array(), [query.expression])) for query in queries]

    def propose(self, images: Sequence[np.ndarray]) -> list[Proposals]:
        """Boxes of the classes in every image (H, W, 3) uint8, best first."""
        return [self.detect(image, self.classes or coco_names()) for image in images]

    def detect(self, image: np.ndarray, names: Sequence[str]) -> Proposals:
        """Boxes of what is named in an image (H, W, 3) uint8, best first."""
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
        """What :meth:`ultralytics.YOLOWorld.set_classes` does, with the features of our encoder."""
        features = self.clip.encode_text([self.prompt.format(name) for name in names])
        inner = self.model.model
        if len(names) != inner.model[-1].nc:
            self.model.predictor = None  # it keeps the number of classes
        inner.txt_feats = torch.as_tensor(features, device=next(inner.parameters()).device)[None]
        inner.model[-1].nc = len(names)
        inner.names = dict(enumerate(names))
        if self.model.predictor is not None:
            self.model.predictor.model.model.txt_feats = inner.txt_feats
            self.model.predictor.model.names = inner.names

    def _answer(self, query: Query, found: Proposals) -> Prediction:
        if not len(found):
            return unanswered(query, f"{self.name}: no box", source=self.source)
        details = {"proposals": found.boxes, "scores": found.scores, "source": self.source}
        return Prediction(found.boxes[0].copy(), float(found.scores[0]), details)


def _load(weights: str) -> tuple[Any, Path]:
    """An ``ultralytics.YOLOWorld`` and its file.

    Raises:
        VGGymError: there are no such weights, or they are no YOLO-World.
    """
    path = Path(weights) if Path(weights).parent != Path(".") else weights_folder() / weights
    yolo = ultralytics_package()
    try:
        model = yolo.YOLOWorld(str(path))
        _ = model.model.txt_feats
        return model, path
    except Exception as error:  # ultralytics raises whatever its download or its reader met
        reason = " ".join(str(error).split())[:300]
        raise VGGymError(
            f"no weights {weights!r} for yolo-world: {reason}. Without network give a local file: "
            "yolo-world.weights=/path/to/yolov8s-worldv2.pt"
        ) from error
