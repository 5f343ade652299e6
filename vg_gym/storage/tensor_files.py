"""Reading what ``torch.save`` wrote, from strangers too: tensors and plain containers, and nothing runs."""

from __future__ import annotations

import argparse
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

from vg_gym.errors import VGGymError

_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError,
           AssertionError, OSError, struct.error)  # fmt: skip
"""What torch's restricted unpickler raises on damaged files."""


def read_tensors(path: str | Path, device: Any = "cpu", remedy: str = "fetch it again") -> Any:
    """The content of a file of ``torch.save``; a ``Namespace`` of options may be in it, as in published checkpoints.

    Args:
        path: the file.
        device: where the tensors go.
        remedy: the end of the message where it cannot be read.

    Raises:
        VGGymError: the file is missing or damaged, or holds anything but tensors and plain containers.
    """
    if not Path(path).is_file():
        raise VGGymError(f"no file {path}: {remedy}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location=device, weights_only=True)
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch's words recommend to read it without restriction
            reason = "it is damaged, or holds more than tensors and plain containers, and nothing else is read"
        raise VGGymError(f"{path} is damaged or no checkpoint ({reason[:200]}); {remedy}") from error
