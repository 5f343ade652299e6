"""The one way to CLIP: a class over open_clip that encodes texts, crops, and whole images densely.

Names: ``ViT-B-32:openai`` (architecture:tag), ``ViT-B-32:/path/to/weights.pt`` (architecture:file), ``refshapes`` (the
built-in model), or a folder that :mod:`vg_gym.clip.training` wrote.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from vg_gym.clip.dense import unit
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.clip.towers import dense_tokens, embed_image, text_tokens
from vg_gym.types import VGGymError

ASSETS = Path(__file__).parent.parent / "assets"
SIDECAR = "vg_gym.json"
"""In a model folder, beside open_clip's own config: crop size, kind of dense features, vocabulary."""


class ClipEncoder:
    """Texts, crops and dense features of one open_clip model; all embeddings float32, unit length unless said.

    Args:
        name: what the model was loaded as.
        model: an ``open_clip.CLIP`` or ``CustomTextCLIP``.
        tokenizer: texts to ids (N, L).
        crop_size: side in pixels at which crops are encoded; positional embeddings are interpolated where it is not
            the model's own image size.
        dense: ``"tokens"`` (final patch tokens through the projection; for models trained with the region loss) or
            ``"maskclip"`` (values of the last attention, Zhou et al., ECCV 2022; for models trained on whole images).
        device: torch device.
        batch_size: crops per forward pass; on a CPU always 8.
        config: open_clip's model config, kept so that a fine-tuned copy can be saved.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        crop_size: int | None = None,
        dense: str = "maskclip",
        device: str = "cpu",
        batch_size: int = 256,
        config: dict[str, Any] | None = None,
    ):
        self.name, self.model, self.tokenizer = name, model.eval().to(device), tokenizer
        self.device, self.batch_size, self.dense = torch.device(device), batch_size, dense
        self.config = config
        size = model.visual.image_size
        self.image_size: int = size[0] if isinstance(size, tuple) else size
        self.crop_size = crop_size or self.image_size
        preprocess = model.visual.preprocess_cfg
        self._mean = torch.tensor(preprocess["mean"], device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(preprocess["std"], device=device).view(1, 3, 1, 1)
        self._text_cache: dict[str, np.ndarray] = {}
        probe = np.zeros((8, 8, 3), dtype=np.uint8)
        self.grid: int = self.encode_dense([probe]).shape[1]
        self.dim: int = self.encode_text([""]).shape[1]
        self.num_tokens: int = self.encode_tokens([""]).shape[1]

    @property
    def logit_scale(self) -> float:
        """The learned inverse temperature."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def words(self) -> list[str] | None:
        """The vocabulary of a word-level tokenizer; None for BPE, which reads anything."""
        return list(self.tokenizer.ids) if isinstance(self.tokenizer, WordTokenizer) else None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how they are used; caches of features are keyed by it."""
        digest = hashlib.sha256(f"{self.dense} {self.image_size} {self.crop_size}".encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
        return digest.hexdigest()

    def fork(self) -> ClipEncoder:
        """An encoder with a copy of the weights: what happens to one does not touch the other."""
        model = copy.deepcopy(self.model)
        device, size = str(self.device), self.batch_size
        return ClipEncoder(self.name, model, self.tokenizer, self.crop_size, self.dense, device, size, self.config)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Text embeddings (N, D); each distinct text is encoded once in the encoder's life."""
        new = [text for text in dict.fromkeys(texts) if text not in self._text_cache]
        for chunk in _chunks(new, self.batch_size):
            with torch.inference_mode(), self._autocast():
                features = self.model.encode_text(self.tokenizer(list(chunk)).to(self.device))
            self._text_cache.update(zip(chunk, unit(_numpy(features)), strict=True))
        return np.stack([self._text_cache[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def encode_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """One feature per token (N, L, D) in the joint space, unit length, zero beyond the end of a text."""
        parts = []
        for chunk in _chunks(texts, self.batch_size):
            with torch.inference_mode(), self._autocast():
                ids = self.tokenizer(list(chunk)).to(self.device)
                features, mask = text_tokens(self.model, ids)
            parts.append(unit(_numpy(features)) * _numpy(mask)[..., None])
        return np.concatenate(parts)

    def encode_boxes(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Embeddings (N, D) of the crops of an image (H, W, 3) uint8 under pixel boxes (N, 4), in one forward."""
        return self.encode_crops([crop(image, box) for box in boxes])

    def encode_crops(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embeddings (N, D) of uint8 pictures (h, w, 3) of any sizes, squashed to ``crop_size`` squared."""
        parts = [np.zeros((0, self.dim), np.float32)] if not crops else []
        # A few at a time are half as fast again on a CPU: their activations stay in its cache.
        for chunk in _chunks(crops, 8 if self.device.type == "cpu" else self.batch_size):
            with torch.inference_mode(), self._autocast():
                parts.append(unit(_numpy(embed_image(self.model.visual, self._pixels(chunk, self.crop_size)))))
        return np.concatenate(parts)

    def encode_dense(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Features (N, g, g, D) in the joint space, not unit length: the region feature of a box is their mean.

        Images are squashed to the model's image size. They go through the model one at a time on a CPU and in
        batches padded to ``batch_size`` / 4 on a GPU, so that an image's features do not depend on its neighbours.
        """
        chunk_size = 1 if self.device.type == "cpu" else max(1, self.batch_size // 4)
        parts = []
        for chunk in _chunks(images, chunk_size):
            padded = [*chunk, *[chunk[-1]] * (chunk_size - len(chunk))]
            with torch.inference_mode(), self._autocast():
                features = dense_tokens(self.model.visual, self._pixels(padded, self.image_size), self.dense)
            parts.append(_numpy(features)[: len(chunk)])
        return np.concatenate(parts)

    def _pixels(self, images: Sequence[np.ndarray], size: int) -> torch.Tensor:
        return self.pixels(np.stack([resize(image, size) for image in images]))

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Normalised pixels (B, 3, S, S) on the device, from uint8 (B, S, S, 3)."""
        return self.normalise(torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, S, S) in [0, 1] as the model takes them."""
        return (pixels - self._mean) / self._std


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """A uint8 picture squashed to (size, size, 3), bicubic."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels of an image (H, W, 3) under a pixel box, rounded outwards, at least one pixel."""
    height, width = image.shape[:2]
    x1, y1 = min(max(int(np.floor(box[0])), 0), width - 1), min(max(int(np.floor(box[1])), 0), height - 1)
    x2, y2 = max(int(np.ceil(box[2])), x1 + 1), max(int(np.ceil(box[3])), y1 + 1)
    return image[y1:y2, x1:x2]


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.float().cpu().numpy()


def _chunks(items: Sequence, size: int) -> Iterable[Sequence]:
    return (items[i : i + size] for i in range(0, len(items), size))


@lru_cache(maxsize=4)
def load_clip(name: str = "refshapes", device: str = "cpu") -> ClipEncoder:
    """Load a CLIP by name; the same name and device give the same object. Torch's generator is left as it was.

    Raises:
        VGGymError: the name, tag or file is not there, or the file is not a checkpoint of that architecture.
    """
    folder = ASSETS / f"clip-{name}" if (ASSETS / f"clip-{name}").is_dir() else Path(name)
    with torch.random.fork_rng(devices=[]):  # weights begin at random before they are read
        return _load(name, folder, device)


def _load(name: str, folder: Path, device: str) -> ClipEncoder:
    try:
        if folder.is_dir():
            return _load_folder(name, folder, device)
        architecture, colon, weights = name.partition(":")
        if not colon:
            raise VGGymError(
                f"clip {name!r} is neither built in, nor a folder, nor ARCHITECTURE:TAG or ARCHITECTURE:FILE, "
                "e.g. ViT-B-32:openai"
            )
        model = open_clip.create_model(architecture, pretrained=weights, device="cpu")
        config = open_clip.get_model_config(architecture)
        return ClipEncoder(name, model, open_clip.get_tokenizer(architecture), device=device, config=config)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise VGGymError(
            f"cannot load clip {name!r}: {reason}. Give ARCHITECTURE:TAG with hub access, or ARCHITECTURE:FILE with a "
            "local open_clip checkpoint"
        ) from error


def _load_folder(name: str, folder: Path, device: str) -> ClipEncoder:
    model = open_clip.create_model(f"local-dir:{folder}", device="cpu")
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    sidecar = json.loads((folder / SIDECAR).read_text()) if (folder / SIDECAR).is_file() else {}
    words = sidecar.pop("vocabulary", None)
    tokenizer = (
        open_clip.get_tokenizer(f"local-dir:{folder}") if words is None else WordTokenizer(words, model.context_length)
    )
    return ClipEncoder(name, model, tokenizer, device=device, config=config, **sidecar)
