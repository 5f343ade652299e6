"""Safe reading of files of ``torch.save``, also from strangers: only tensors and plain containers, and no code runs."""

from __future__ import annotations

import argparse
import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch

from vg_gym.errors import VGGymError, one_line

_DAMAGE = (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError,
           AssertionError, OSError, struct.error)  # fmt: skip
"""Errors of torch's restricted unpickler for damaged files."""


def read_tensors(path: str | Path, device: Any = "cpu", remedy: str = "fetch it again") -> Any:
    """Read a file of ``torch.save``, which may contain a ``Namespace`` of options as in published checkpoints.

    Args:
        path: the file.
        device: device of the tensors.
        remedy: advice at the end of an error message.

    Raises:
        VGGymError: the file is missing or damaged, or contains anything but tensors and plain containers.
    """
    if not Path(path).is_file():
        raise VGGymError(f"no file {path}: {remedy}")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location=device, weights_only=True)
    except _DAMAGE as error:
        reason = one_line(error)
        if isinstance(error, pickle.UnpicklingError):  # torch's own message recommends unsafe reading
            reason = "it is damaged, or contains objects other than tensors and plain containers, which are not read"
        raise VGGymError(f"{path} is damaged or not a checkpoint ({reason}); {remedy}") from error
