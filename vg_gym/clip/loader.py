"""Loading of CLIPs by name.

A model is named ``ViT-B-32:openai`` (architecture:tag), ``ViT-B-32:/path/to/weights.pt`` (architecture:file),
``hf-hub:owner/repository``, ``refshapes`` (the built-in model), or by a folder that
:mod:`vg_gym.clip.finetuning.model` wrote.
"""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from vg_gym.clip.encoder import ClipEncoder, forked
from vg_gym.clip.published import CONFIG, DOWNLOAD_FAILED, build, without_hub
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.errors import VGGymError, one_line
from vg_gym.runtime.lazy_imports import torch
from vg_gym.runtime.light_imports import import_open_clip, import_towers
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import place_mark

SIDECAR = "vg_gym.json"
"""File in a model folder with crop size, kind of dense features and vocabulary, next to open_clip's config."""
WEIGHTS_FILE = "open_clip_model.safetensors"
"""Name that open_clip gives to the weights in a model folder."""
_LOADING = threading.RLock()


def load_clip(name: str = "refshapes", device: str = "cpu") -> ClipEncoder:
    """Load a CLIP by name without changing torch's random state.

    Equal names and devices return the same object until the files of the model change.

    Raises:
        VGGymError: the name, tag or file does not exist, or the file is not a checkpoint of that architecture.
    """
    return _load(name, device, place_mark(name, name.partition(":")[2]))


def forget_clips() -> None:
    """Clear the cache of :func:`load_clip`."""
    _load.cache_clear()


@lru_cache(maxsize=4)
def _load(name: str, device: str, mark: str) -> ClipEncoder:
    """Load a CLIP for :func:`load_clip`; ``mark`` identifies the state of the files."""
    try:
        if (folder := built_in("clip", name)) is not None:
            return BuiltInClip(name, folder, device)
        folder = Path(name.removeprefix("local-dir:"))
        with torch.random.fork_rng(devices=[]):  # weights are initialised at random before the checkpoint is read
            return _load_folder(name, folder, device) if folder.is_dir() else _load_named(name, device)
    except (RuntimeError, OSError, ValueError, LookupError, EOFError, TypeError, AttributeError, StopIteration,
            SafetensorError, pickle.UnpicklingError) as error:  # fmt: skip
        if "forked subprocess" in str(error):  # from torch's message
            raise forked(name) from error
        reason = one_line(error)
        if isinstance(error, pickle.UnpicklingError):  # torch's message recommends an unrestricted load
            reason = "the file is damaged, or holds more than tensors and plain containers"
        if reason.startswith(DOWNLOAD_FAILED) and (advice := without_hub(name)):
            raise VGGymError(f"cannot load clip {name!r}: its weights could not be downloaded. {advice}") from error
        raise VGGymError(
            f"cannot load clip {name!r}: {reason}. Use ARCHITECTURE:TAG with hub access, or ARCHITECTURE:FILE with a "
            "local open_clip checkpoint"
        ) from error


def _load_named(name: str, device: str) -> ClipEncoder:
    model, tokenizer, config = build(name)
    return ClipEncoder(name, model, tokenizer, device=device, config=config)


def _load_folder(name: str, folder: Path, device: str) -> ClipEncoder:
    import_towers()
    import open_clip

    model = open_clip.create_model(f"local-dir:{folder}", device="cpu", require_pretrained=True)
    saved, words, sidecar = _read_folder(folder)
    tokenizer = (
        open_clip.get_tokenizer(f"local-dir:{folder}") if words is None else WordTokenizer(words, model.context_length)
    )
    return ClipEncoder(name, model, tokenizer, device=device, config=saved["model_cfg"], **sidecar)


def _read_folder(folder: Path) -> tuple[dict[str, Any], list[str] | None, dict[str, Any]]:
    """Read open_clip's config, the vocabulary (or None) and other encoder arguments from a model folder."""
    saved = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    sidecar = json.loads((folder / SIDECAR).read_text()) if (folder / SIDECAR).is_file() else {}
    return saved, sidecar.pop("vocabulary", None), sidecar


class BuiltInClip(ClipEncoder):
    """CLIP that is shipped with the package; its model is built when something is first encoded.

    Sizes and vocabulary are read from its files. So an environment whose features are cached needs neither the model
    nor open_clip, whose import takes longer than torch's.

    Args:
        name: name of the weights.
        folder: model folder of a CLIP with a ViT image tower and a word-level vocabulary.
        device: torch device.
    """

    _model: Any = None

    def __init__(self, name: str, folder: Path, device: str = "cpu"):
        saved, words, sidecar = _read_folder(folder)
        config, self._folder = saved["model_cfg"], folder
        vision, self.num_tokens = config["vision_cfg"], config["text_cfg"]["context_length"]
        self.image_size, self.dim = vision["image_size"], config["embed_dim"]
        self.grid = self.image_size // vision["patch_size"]
        tokenizer = WordTokenizer(words or [], self.num_tokens)
        self.vocabulary_size = config["text_cfg"]["vocab_size"]
        self._describe(name, tokenizer, sidecar["crop_size"], sidecar["dense"], device, 256, config,
                       saved["preprocess_cfg"])  # fmt: skip

    @property
    def model(self) -> Any:  # type: ignore[override]
        """The ``open_clip.CLIP``; building it does not change torch's random state."""
        if self._model is None:
            self._load_model()
        return self._model

    def _load_model(self) -> None:
        import_open_clip()
        import open_clip

        self._check_process()
        with _LOADING:  # several threads may encode first at the same time
            if self._model is None:
                # Encoding runs in inference mode; leaving it here makes copies of the model trainable.
                with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
                    model = open_clip.create_model(f"local-dir:{self._folder}", device="cpu")
                    self._model = model.eval().to(self.device)

    @property
    def is_loaded(self) -> bool:  # type: ignore[override]
        """True if the model is in memory."""
        return self._model is not None

    @property
    def logit_scale(self) -> float:
        """Learned inverse temperature."""
        return super().logit_scale if self.is_loaded else self._saved_scale

    @cached_property
    def _saved_scale(self) -> float:
        with safe_open(self._folder / WEIGHTS_FILE, "numpy") as file:
            return np.exp(np.asarray(file.get_tensor("logit_scale"), dtype=np.float32)).item()

    def _weights(self) -> Mapping[str, np.ndarray]:
        if self.is_loaded:
            return super()._weights()
        return {name: array.astype(np.float32) for name, array in load_file(self._folder / WEIGHTS_FILE).items()}
