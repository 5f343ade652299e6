"""Encoder of texts, crops and dense image features over open_clip; all rooms use CLIP through it.

Activation and preprocessing are those that the weights were trained with (:mod:`vg_gym.clip.published`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any

import numpy as np

from vg_gym.clip.crops import crop, crop_and_resize, resize
from vg_gym.clip.published import unusual
from vg_gym.clip.region_features import l2_normalize
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.clip.towers import dense_tokens, embed_image, is_read, text_tokens, vocabulary_size, word_features
from vg_gym.data.rewording import RULES
from vg_gym.errors import VGGymError
from vg_gym.moved import moved_names
from vg_gym.runtime.lazy_imports import torch
from vg_gym.storage.lru_cache import LRUCache

MAX_CACHED_TEXTS = 2**16
"""Number of texts whose embeddings are cached in memory."""


class ClipEncoder:
    """Encoder of texts, crops and dense features with one open_clip model; embeddings are float32 of unit length.

    Args:
        name: name that the model was loaded by.
        model: ``open_clip.CLIP`` or ``CustomTextCLIP``.
        tokenizer: function from texts to ids (N, L).
        crop_size: side in pixels at which crops are encoded. If it differs from the model's image size, positional
            embeddings are interpolated.
        dense: ``"tokens"`` (final patch tokens through the projection; for models trained with the region loss) or
            ``"maskclip"`` (values of the last attention, Zhou et al., ECCV 2022; for models trained on whole images).
        device: torch device.
        batch_size: crops per forward pass; always 8 on a CPU.
        config: open_clip's model config, which is saved with a fine-tuned copy.
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
        self.model = model.eval().to(device)
        size = model.visual.image_size
        self.image_size: int = size[0] if isinstance(size, tuple) else size
        self._describe(name, tokenizer, crop_size, dense, device, batch_size, config, model.visual.preprocess_cfg)
        self.dim: int = self.encode_text([""]).shape[1]

    def _describe(
        self, name: str, tokenizer: Any, crop_size: int | None, dense: str, device: str, batch_size: int,
        config: dict[str, Any] | None, preprocess: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Store the attributes that do not need the model."""
        self.name, self.tokenizer, self.config = name, tokenizer, config
        self.batch_size, self.dense, self._preprocess = batch_size, dense, preprocess
        self.crop_size = crop_size or self.image_size
        self._process = os.getpid()
        self.on_cpu = str(device).startswith("cpu")
        if str(device) != "cpu":
            self.device = torch.device(device)
            _ = self._moments  # a missing device raises here rather than at the first image
        self._text_cache: LRUCache[np.ndarray] = LRUCache(MAX_CACHED_TEXTS)

    is_loaded: bool = True
    """True if the model is in memory."""
    on_cpu: bool
    """True if the model is on a CPU; reading it does not import torch."""

    @cached_property
    def device(self) -> torch.device:
        """Torch device of the model."""
        return torch.device("cpu")

    @cached_property
    def grid(self) -> int:
        """Number of cells along a side of a dense feature map; raises an error if the image tower does not give one."""
        return self.encode_dense([np.zeros((8, 8, 3), dtype=np.uint8)]).shape[1]

    @cached_property
    def num_tokens(self) -> int:
        """Number of tokens of a text; raises an error if the text tower gives no token features."""
        return self.encode_tokens([""]).shape[1]

    @cached_property
    def vocabulary_size(self) -> int:
        """Number of ids of the vocabulary, V; raises an error if the text tower has no table of them."""
        return vocabulary_size(self.model)

    @property
    def logit_scale(self) -> float:
        """Learned inverse temperature."""
        return np.exp(_numpy(self.model.logit_scale.detach())).item()

    @property
    def interpolation(self) -> str:
        """Interpolation that resizes pixels to the model's size, ``bicubic`` or ``bilinear``, as in its training."""
        return "bilinear" if self._preprocess.get("interpolation") == "bilinear" else "bicubic"

    @property
    def words(self) -> list[str] | None:
        """Vocabulary of a word-level tokenizer; None for BPE, which encodes any text."""
        return list(self.tokenizer.ids) if isinstance(self.tokenizer, WordTokenizer) else None

    @property
    def knows_shapes_alone(self) -> bool:
        """True if the vocabulary is that of RefShapes."""
        return isinstance(self.tokenizer, WordTokenizer) and self.tokenizer.rewords

    def reword(self, expression: str) -> str:
        """Rewrite an expression in the language of the model's training; only that of RefShapes changes expressions.

        Parsers of expressions read the result.
        """
        return self.tokenizer.reword(expression) if isinstance(self.tokenizer, WordTokenizer) else expression

    def prompt_template(self, given: str | None = None) -> str:
        """Return the prompt for expressions: ``given``, or ``a photo of {}``, or ``{}`` for a word-level CLIP.

        Raises:
            VGGymError: the prompt lacks ``{}``.
        """
        prompt = given or ("a photo of {}" if self.words is None else "{}")
        if "{}" not in prompt:
            raise VGGymError(f"prompt {prompt!r} has no {{}} where the expression goes")
        return prompt

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and their use, which is the key of feature caches."""
        use = (self.dense, self.image_size, self.crop_size, *([] if self.words is None else [RULES]))
        digest = hashlib.sha256(" ".join(map(str, use)).encode())
        digest.update(unusual(self.config or {}, self._preprocess).encode())
        for name, weights in sorted(self._weights().items()):
            digest.update(name.encode() + weights.tobytes())
        return digest.hexdigest()

    def _weights(self) -> Mapping[str, np.ndarray]:
        """Return the weights in single precision by name."""
        return {name: _numpy(tensor) for name, tensor in self.model.state_dict().items()}

    def copy(self) -> ClipEncoder:
        """Return an encoder with a copy of the weights, which can be trained without changing this encoder."""
        model = deepcopy(self.model)
        device, size = str(self.device), self.batch_size
        return ClipEncoder(self.name, model, self.tokenizer, self.crop_size, self.dense, device, size, self.config)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # An unpickled encoder has its own copy of the weights, so this process may use it.
        self.__dict__.update(state, _process=os.getpid())

    def _check_process(self) -> None:
        if self.device.type == "cuda" and os.getpid() != self._process:
            raise forked(self.name)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        autocast = torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda")
        with torch.inference_mode(), autocast:
            yield

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        self._check_process()
        return tensor.to(self.device)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Return text embeddings (N, D); each distinct text is encoded once and cached.

        Texts are encoded one at a time on a CPU, where batches save little, and in padded batches on a GPU. So no bit
        of an embedding depends on the other texts.
        """
        embeddings = self._text_cache.get_or_make(texts, self._encode_texts)
        return np.stack([embeddings[text] for text in texts]) if texts else np.zeros((0, self.dim), np.float32)

    def _encode_texts(self, texts: Sequence[str]) -> Iterator[np.ndarray]:
        """Yield the embedding (D,) of each text."""
        size = 1 if self.on_cpu else self.batch_size
        for chunk in _chunks(texts, size):
            with self._inference():
                ids = self.tokenizer([*chunk, *[""] * (size - len(chunk))])
                features = self.model.encode_text(self._to_device(ids))[: len(chunk)]
            yield from l2_normalize(_numpy(features))

    def encode_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit features of all tokens in the joint space (N, L, D), zero beyond the end of a text."""
        parts = []
        for chunk in _chunks(texts, self.batch_size):
            with self._inference():
                features, mask = text_tokens(self.model, self._to_device(self.tokenizer(list(chunk))))
            parts.append(l2_normalize(_numpy(features)) * _numpy(mask)[..., None])
        return np.concatenate(parts)

    def encode_words(self) -> np.ndarray:
        """Return unit features of all ids of the vocabulary by themselves (V + 1, D); the last row is zero."""
        with self._inference():
            features = l2_normalize(_numpy(word_features(self.model)))
        return np.concatenate([features, np.zeros((1, self.dim), np.float32)])

    def word_rows(self, text: str) -> np.ndarray:
        """Return the rows in :meth:`encode_words` of the words of a text, int64 (L,); the last row beyond its end."""
        ids = self.tokenizer([text])
        return np.where(is_read(ids)[0].numpy(), ids[0].numpy(), self.vocabulary_size)

    def encode_boxes(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the embeddings (N, D) of the crops of an image, uint8 (H, W, 3), under pixel boxes (N, 4)."""
        return self.encode_regions([self.upload(image)] * len(boxes), boxes)

    def upload(self, image: np.ndarray) -> torch.Tensor:
        """Copy an image, uint8 (H, W, 3), to the device, as input of :meth:`encode_regions`."""
        return self._to_device(torch.tensor(np.ascontiguousarray(image)))

    def encode_regions(self, images: Sequence[torch.Tensor], boxes: np.ndarray) -> np.ndarray:
        """Return the embeddings (N, D) of the crops of N uploaded images under one box each.

        On a CUDA device the pixels never leave it. On other devices Pillow cuts the crops, which is at least twice as
        fast on a CPU.

        Args:
            images: images from :meth:`upload`, of any sizes; an image may occur several times.
            boxes: pixel boxes (N, 4).
        """
        if self.device.type != "cuda":
            return self.encode_crops([crop(image.numpy(), box) for image, box in zip(images, boxes, strict=True)])
        self._check_process()
        parts = (slice(i, i + self.batch_size) for i in range(0, len(images), self.batch_size))
        levels = (crop_and_resize(images[part], boxes[part], self.crop_size, self.interpolation) for part in parts)
        return self._embed(self.normalize(pixels / 255) for pixels in levels)

    def encode_crops(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return the embeddings (N, D) of uint8 crops (h, w, 3) of any sizes, squashed to ``crop_size`` squared.

        They are squashed even if a model was trained on centre crops, because the ends of a box matter.
        """
        # Few crops at a time fit into a CPU's cache: 20 % faster for small models, equally fast for a ViT-B/32.
        chunks = _chunks(crops, 8 if self.on_cpu else self.batch_size)
        return self._embed(self._pixels(chunk, self.crop_size) for chunk in chunks)

    def _embed(self, batches: Iterable[torch.Tensor]) -> np.ndarray:
        """Return the unit embeddings (N, D) of batches of normalised pixels (B, 3, S, S)."""
        parts = []
        for pixels in batches:
            with self._inference():
                parts.append(l2_normalize(_numpy(embed_image(self.model.visual, pixels))))
        return np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)

    def encode_dense(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return features (N, g, g, D) in the joint space; their mean over a box is the feature of the region.

        They do not have unit length. Images are squashed to the model's image size. They are encoded one at a time on
        a CPU and in batches padded to ``batch_size`` / 4 on a GPU, so that an image's features do not depend on the
        other images.
        """
        chunk_size = 1 if self.on_cpu else max(1, self.batch_size // 4)
        parts = []
        for chunk in _chunks(images, chunk_size):
            padded = [*chunk, *[chunk[-1]] * (chunk_size - len(chunk))]
            with self._inference():
                features = dense_tokens(self.model.visual, self._pixels(padded, self.image_size), self.dense)
            parts.append(_numpy(features)[: len(chunk)])
        return np.concatenate(parts)

    def _pixels(self, images: Sequence[np.ndarray], size: int) -> torch.Tensor:
        return self.pixels(np.stack([resize(image, size, self.interpolation) for image in images]))

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Return normalised pixels (B, 3, S, S) on the device from uint8 images (B, S, S, 3)."""
        return self.normalize(self._to_device(torch.from_numpy(images)).permute(0, 3, 1, 2).float() / 255)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalise pixels (B, 3, S, S) in [0, 1] by the model's mean and standard deviation."""
        mean, std = self._moments
        return (pixels - mean) / std

    @cached_property
    def _moments(self) -> list[torch.Tensor]:
        """Mean and standard deviation of pixels, each (1, 3, 1, 1)."""
        # These may be created while encoding, but training uses them too, hence no inference tensors.
        with torch.inference_mode(False):
            numbers = (self._preprocess[name] for name in ("mean", "std"))
            return [torch.tensor(three, device=self.device).view(1, 3, 1, 1) for three in numbers]


def forked(name: str) -> VGGymError:
    """Return the error for a CLIP that is used in a forked process."""
    return VGGymError(
        f"clip {name!r} is on a GPU and was loaded before this process was forked, which CUDA does not support. One "
        "CLIP serves all environments of one process: use gymnasium.make_vec or GroundingVecEnv, or start the workers "
        "with context='spawn' (start_method='spawn' in Stable-Baselines3) and pass clip= as a name"
    )


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.float().cpu().numpy()


def _chunks(items: Sequence, size: int) -> Iterable[Sequence]:
    return (items[i : i + size] for i in range(0, len(items), size))


__getattr__ = moved_names(__name__)
