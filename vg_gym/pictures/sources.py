"""Sources of a user's pictures: paths, folders, Pillow images, arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.data.images import ArrayImage, read_image, to_rgb
from vg_gym.errors import VGGymError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of picture files in a folder."""


def picture(source: Any) -> ArrayImage:
    """Decode a picture.

    Args:
        source: a path, a Pillow image, or a uint8 array (H, W, 3).

    Raises:
        VGGymError: the file is missing or not an image, or the array has another type or shape.
    """
    if isinstance(source, (str, Path)):
        return ArrayImage(read_image(source))
    if isinstance(source, Image.Image):
        try:
            return ArrayImage(to_rgb(source))
        except (OSError, ValueError) as error:
            raise VGGymError(f"cannot read the Pillow image {source!r}: {error}") from error
    if isinstance(source, np.ndarray):
        return ArrayImage(source)
    raise VGGymError(f"a picture is a path, a Pillow image or a uint8 array (H, W, 3), not {type(source).__name__}")


def picture_files(places: Iterable[str | Path]) -> list[Path]:
    """Return the named files, and all pictures of the named folders, sorted by name.

    Raises:
        VGGymError: a file or folder is missing, or a folder holds no pictures.
    """
    files: list[Path] = []
    for place in map(Path, places):
        if place.is_dir():
            inside = sorted(path for path in place.iterdir() if path.suffix.lower() in SUFFIXES)
            if not inside:
                raise VGGymError(f"no picture in {place}: none of its files ends in {', '.join(SUFFIXES)}")
            files += inside
        elif place.exists():
            files.append(place)
        else:
            raise VGGymError(f"no such file or folder: {place}")
    return files
