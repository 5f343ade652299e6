"""Loader of transformers models from the hub or a folder, which reads tensors only and records the source."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vg_gym.errors import VGGymError, importing, one_line, unknown
from vg_gym.runtime.devices import pick_device

EXTRA = "foundation"
"""Extra of the package that installs the dependencies of this room."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Values of ``precision`` in addition to ``auto``, which is bfloat16 on CUDA and float32 elsewhere."""
HASHED_SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")
"""Suffixes of the files in a folder that affect answers: weights, configs, chat templates, vocabularies."""
CHUNK_BYTES = 2**24
"""Number of bytes of a file that are read at a time."""


def transformers_package(who: str) -> Any:
    """Import transformers.

    Raises:
        VGGymError: the package is not installed.
    """
    with importing(who, "transformers", EXTRA):
        import transformers
    return transformers


@dataclass(frozen=True)
class Loaded:
    """Model that is ready to run."""

    module: Any
    """Network in eval mode on its device."""
    processor: Any
    """Processor of its inputs and outputs."""
    source: str
    """Source of the weights: ``NAME@COMMIT`` for the hub, ``FOLDER@HASH`` for the files of a folder."""
    device: torch.device
    """Device of the network."""
    dtype: torch.dtype
    """Floating-point type of the computation."""

    def autocast(self) -> AbstractContextManager:
        """Return a context of mixed precision, which does nothing for float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def on_device(self, inputs: Any) -> Any:
        """Move a processor's output to the device, and floating-point tensors to the module's dtype."""
        return inputs.to(self.device, dtype=next(self.module.parameters()).dtype)


def load(
    who: str,
    auto_class: str,
    weights: str,
    revision: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    mixed: bool = True,
    processor_class: str = "AutoProcessor",
) -> Loaded:
    """Load a model and its processor from safetensors, without running code that is shipped with the weights.

    Args:
        who: name of the grounder, for errors.
        auto_class: class of transformers that selects the architecture, e.g. ``AutoModelForImageTextToText``.
        weights: name on the hub, or folder in transformers' layout.
        revision: commit, tag or branch on the hub; default: the main branch.
        device: torch device, or ``auto``.
        precision: key of :data:`PRECISIONS`, or ``auto``.
        mixed: True for weights in float32 and computation in mixed precision, False for both in ``precision``.
        processor_class: class of transformers that reads the processor.

    Raises:
        VGGymError: transformers is missing or lacks the class, the precision is unknown, the weights are missing or
            incomplete, or they need code of their own.
    """
    t = transformers_package(who)
    if lacking := [name for name in (auto_class, processor_class) if not hasattr(t, name)]:
        raise VGGymError(f"{who} needs {lacking[0]}, which transformers {t.__version__} lacks; install a newer one")
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
        processor = getattr(t, processor_class).from_pretrained(weights, **safe)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _missing(who, weights, error) from error
    if missing := sorted(loading["missing_keys"]):  # transformers fills them at random
        raise _missing(who, weights, f"{len(missing)} tensors are missing: {', '.join(missing[:3])}")
    return Loaded(module.to(where).eval(), processor, _source(weights, module), where, dtype)


def _is_path(weights: str) -> bool:
    return weights.startswith((".", "/", "~")) or weights.count("/") > 1


def _missing(who: str, weights: str, error: BaseException | str) -> VGGymError:
    if "trust_remote_code" in str(error):
        return VGGymError(
            f"{who} does not load {weights!r}, whose code comes with its weights and is not run: answer with its own "
            f"library, and evaluate the file with --predictions FILE --frame FRAME (vg-gym list families)"
        )
    how = f"{who}:/path/to/folder" if who == "vlm" else f"{who}.weights=/path/to/folder"
    return VGGymError(
        f"no weights {weights!r} for {who}: {one_line(error)}. Without hub access give a folder in transformers' "
        f"layout (config.json, model.safetensors, the processor's files): {how}"
    )


def _source(weights: str, module: Any) -> str:
    """Return the weights with the commit on the hub, or with a hash of all files of the folder that affect answers."""
    if not Path(weights).is_dir():
        return f"{weights}@{getattr(module.config, '_commit_hash', None) or 'unknown'}"
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(weights).iterdir() if path.suffix in HASHED_SUFFIXES):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return f"{weights}@sha256:{digest.hexdigest()[:16]}"
