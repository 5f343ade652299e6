"""Reading of .npy files that may be damaged."""

from __future__ import annotations

import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Literal

import numpy as np


def read_npy(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """Read the array of an .npy file, without running code in it.

    Args:
        path: path of the file.
        mmap_mode: ``r`` maps the file instead of reading it.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged. All other errors of numpy and of Python's parser become this one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # numpy repairs some headers with a warning
            return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (
        EOFError, SyntaxError, TokenError, TypeError, OverflowError, MemoryError, RecursionError, UserWarning
    ) as error:  # fmt: skip
        raise ValueError(f"{path.name} is not a complete .npy file ({error})") from error
