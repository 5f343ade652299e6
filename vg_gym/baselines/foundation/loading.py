"""Models of transformers from the hub or a folder: tensors only, and with a record of what was loaded."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError, importing, unknown

EXTRA = "foundation"
"""The extra that brings what is needed here."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What ``precision`` may be, beside ``auto``: bfloat16 on CUDA, float32 elsewhere."""
READ = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Endings of the files of a folder on which answers depend: weights, configs, chat templates, vocabularies."""
CHUNK = 2**24
"""Bytes of a file that are read at a time."""


def transformers_package(who: str) -> Any:
    """The package.

    Raises:
        VGGymError: it is not installed.
    """
    with importing(who, "transformers", EXTRA):
        import transformers
    return transformers


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run."""

    module: Any
    """In eval mode, on its device."""
    processor: Any
    """Makes its inputs, and reads its outputs."""
    source: str
    """Which weights these are: ``NAME@COMMIT`` of the hub, or ``FOLDER@HASH`` of the files of a folder."""
    device: torch.device
    dtype: torch.dtype
    """Of the computation."""

    def autocast(self) -> AbstractContextManager:
        """Mixed precision where the dtype is no float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def on_device(self, inputs: Any) -> Any:
        """A processor's output on the device; floating-point tensors in the module's own dtype."""
        return inputs.to(self.device, dtype=next(self.module.parameters()).dtype)


def load(
    who: str,
    auto_class: str,
    weights: str,
    revision: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    mixed: bool = True,
) -> Loaded:
    """Load a model and its processor; code that comes with weights is never run, and only safetensors are read.

    Args:
        who: name of the grounder, for errors.
        auto_class: the class of transformers that knows the architecture, e.g. ``AutoModelForImageTextToText``.
        weights: a name on the hub, or a folder in transformers' layout.
        revision: commit, tag or branch on the hub; default: its main branch.
        device: torch device, or ``auto``.
        precision: a key of :data:`PRECISIONS`, or ``auto``.
        mixed: keep the weights in float32, and compute in mixed precision; else the weights are of the precision, too.

    Raises:
        VGGymError: transformers is missing, the precision is unknown, or the weights are not there or not whole.
    """
    t = transformers_package(who)
    where = torch.device(pick_device(device))
    if precision != "auto" and precision not in PRECISIONS:
        raise unknown("precision", precision, ("auto", *PRECISIONS))
    dtype = PRECISIONS[precision if precision != "auto" else "bfloat16" if where.type == "cuda" else "float32"]
    if _is_path(weights) and not Path(weights).is_dir():
        raise _missing(who, weights, "no such folder")
    safe = {"revision": revision, "trust_remote_code": False}
    try:
        module, loading = getattr(t, auto_class).from_pretrained(
            weights,
            dtype=torch.float32 if mixed else dtype,
            use_safetensors=True,
            output_loading_info=True,
            **safe,
        )
        processor = t.AutoProcessor.from_pretrained(weights, **safe)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _missing(who, weights, error) from error
    if missing := sorted(loading["missing_keys"]):  # transformers fills them at random
        raise _missing(who, weights, f"{len(missing)} tensors are missing: {', '.join(missing[:3])}")
    return Loaded(module.to(where).eval(), processor, _source(weights, module), where, dtype)


def _is_path(weights: str) -> bool:
    return weights.startswith((".", "/", "~")) or weights.count("/") > 1


def _missing(who: str, weights: str, error: BaseException | str) -> VGGymError:
    reason = " ".join(str(error).split())[:300]
    how = f"{who}:/path/to/folder" if who == "vlm" else f"{who}.weights=/path/to/folder"
    return VGGymError(
        f"no weights {weights!r} for {who}: {reason}. Without hub access give a folder in transformers' layout "
        f"(config.json, model.safetensors, the processor's files): {how}"
    )


def _source(weights: str, module: Any) -> str:
    """The weights and their revision: the commit on the hub, or a hash of a folder's files, the processor's too."""
    if not Path(weights).is_dir():
        return f"{weights}@{getattr(module.config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(weights).iterdir() if path.suffix in READ):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return f"{weights}@sha256:{digest.hexdigest()[:16]}"
