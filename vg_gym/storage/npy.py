"""Arrays in .npy files that may be damaged."""

from __future__ import annotations

import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Literal

import numpy as np


def read_npy(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """The array of an .npy file; nothing in it is run.

    Args:
        path: of the file.
        mmap_mode: ``r`` maps it in place of reading it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged; numpy raises other errors too, of Python's own parser for one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # numpy mends some headers, and says so
            return np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (
        EOFError, SyntaxError, TokenError, TypeError, OverflowError, MemoryError, RecursionError, UserWarning
    ) as error:  # fmt: skip
        raise ValueError(f"{path.name} is no whole .npy file ({error})") from error
