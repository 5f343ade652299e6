"""Conversion of image files to uint8 RGB.

Transparent pixels become white, and 16-bit values are scaled, not clamped, to 8 bits. The EXIF orientation of a file
may say that its pixels are to be rotated or mirrored. People see the *upright* image, while many annotations, including
COCO's, refer to the *stored* one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from vg_gym.errors import ImageError, one_line

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""Formats that are read, whatever a file's suffix. Others are rare, and some run programs (EPS runs Ghostscript)."""
MAX_MEGAPIXELS = 150.0
"""Maximum size of an image; a small file may claim to be large, and 150 megapixels take half a gigabyte."""
MEGAPIXELS_VARIABLE = "VG_GYM_MAX_MEGAPIXELS"
"""Environment variable that replaces :data:`MAX_MEGAPIXELS`, up to Pillow's 178."""
STORED, UPRIGHT, UNKNOWN = "stored", "upright", ""
ORIENTATIONS = (STORED, UPRIGHT)
"""Pixels that boxes may refer to: as the file stores them, or as its EXIF orientation turns them."""
_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> operation that turns the upright image into the stored one; others are stored upright."""
_SCALES = {"1": 255, "L;2": 85, "L;4": 17}
"""Pillow's name of grey pixels of a few bits -> the factor by which it scales them, but not the transparent value."""
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 256, 257, 258, 262, 0
# Exceptions of Pillow's decoders for damaged files; any other exception is a bug here and stays visible.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError,
           Image.DecompressionBombWarning, ImportError)  # fmt: skip
"""Errors of damaged files. A program that imports ultralytics itself gets an ImportError, because ultralytics replaces
``Image.open`` and looks for a further package when Pillow knows no format."""


class UnknownOrientation(ImageError):
    """The orientations of an image differ, and the one of its boxes is unknown."""


@lru_cache(1)
def _formats() -> tuple[str, ...]:
    """Return the :data:`FORMATS` that the installed Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def opened(path: Path | str, file: IO[bytes] | None = None) -> Iterator[Image.Image]:
    """Open an image without decoding it; every failure in the block becomes an error that names the file.

    Args:
        path: path of the file.
        file: bytes of an image that is not a file itself; ``path`` is then its name in errors.

    Raises:
        VGGymError: the file is missing, damaged, or of an unknown kind.
    """
    try:
        with Image.open(path if file is None else file, formats=_formats()) as image:
            pixels = image.width * image.height
            megapixels = float(os.environ.get(MEGAPIXELS_VARIABLE, MAX_MEGAPIXELS))
            if pixels > megapixels * 1e6:
                raise ValueError(
                    f"{pixels / 1e6:,.0f} megapixels, more than {megapixels:g}; {MEGAPIXELS_VARIABLE} sets the limit"
                )
            if (transparent := _transparent_value(image)) is not None:
                image.info["transparency"] = transparent
            yield image
    except FileNotFoundError as error:
        raise ImageError(f"no image {path}; download the images or correct root=") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error
    except _DAMAGE as error:
        raise ImageError(
            f"damaged or unsupported image {path} ({one_line(error)}); if it is an image, fetch it again"
        ) from error


def to_rgb(image: Image.Image, orientation: str = UPRIGHT) -> np.ndarray:
    """Convert a Pillow image of any mode to uint8 RGB (H, W, 3).

    Args:
        image: image from :func:`opened` or elsewhere.
        orientation: one of :data:`ORIENTATIONS`.

    Raises:
        ValueError: the mode lacks a known range of values (floating point, or 32-bit beyond 16 bits).
    """
    number, tags, transparent = _number(image), getattr(image, "tag_v2", {}), image.info.get("transparency")
    image = ImageOps.exif_transpose(image)
    if orientation == STORED and number in _BACK:
        image = image.transpose(_BACK[number])
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save as 8 or 16 bits")
    if image.mode.startswith("I"):
        return _from_16_bit(image, tags, transparent)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    if "A" in image.getbands() or transparent is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _transparent_value(image: Image.Image) -> int | bytes | tuple[int, ...] | None:
    """Return the transparent colour in decoded values; Pillow states it in the values of the file."""
    value = image.info.get("transparency")
    stored_as = next((str(tile[3]) for tile in getattr(image, "tile", ())[:1]), "")
    if isinstance(value, tuple) and ";16" in stored_as:
        return tuple(part >> 8 for part in value)
    return min(255, value * _SCALES.get(stored_as, 1)) if isinstance(value, int) and image.mode in ("1", "L") else value


def _from_16_bit(image: Image.Image, tags: object, transparent: object) -> np.ndarray:
    """Convert grey values of 16 bits, or of the number of bits in a TIFF's tags, to uint8 RGB (H, W, 3)."""
    # Mode "I" has 32 bits, but older versions of Pillow open 16-bit PNG with it; only the values show the difference.
    values, tag = np.asarray(image).astype(np.int64), dict(tags) if tags else {}  # type: ignore[call-overload]
    bits = int(np.ravel(tag.get(_BITS_PER_SAMPLE, 16))[0])
    white = 2**bits - 1 if bits < 16 else 0xFFFF
    if values.min() < 0 or values.max() > white:
        raise ValueError("32-bit pixels have no known range; save as 8 or 16 bits")
    gray = (values * 255 + white // 2) // white
    if tag.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        gray = 255 - gray
    if isinstance(transparent, int):
        gray = np.where(values == transparent, 255, gray)
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def _number(image: Image.Image) -> int:
    """Return the EXIF orientation of an image that is not yet decoded; 1 if it has none."""
    number = image.getexif().get(_ORIENTATION)
    return number if isinstance(number, int) and number in _BACK else 1


def size_in(image: Image.Image, orientation: str) -> tuple[int, int]:
    """Return (width, height) in pixels of an image that is not yet decoded, in one of :data:`ORIENTATIONS`."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow itself rotates TIFF, some versions when opening, some when decoding
        width, height = (int(image.tag_v2[tag]) for tag in (_WIDTH, _HEIGHT))  # type: ignore[attr-defined]
    return (height, width) if orientation == UPRIGHT and _number(image) in _ON_THEIR_SIDE else (width, height)


def chosen_orientation(image: Image.Image, wanted: str, known_size: tuple[int, int] | None, path: Path | str) -> str:
    """Return the one of :data:`ORIENTATIONS` that the annotations of an image refer to.

    The annotated size decides if it fits only one orientation; otherwise ``wanted`` does.

    Args:
        image: image that is not yet decoded.
        wanted: orientation by the data set, or :data:`UNKNOWN`.
        known_size: (width, height) by the annotations, if they state it.
        path: name of the image in errors.

    Raises:
        UnknownOrientation: the orientations differ, and neither the size nor ``wanted`` decides.
    """
    number = _number(image)
    if number == 1:
        return UPRIGHT
    fitting = [name for name in ORIENTATIONS if size_in(image, name) == known_size]
    if len(fitting) == 1:
        return fitting[0]
    if wanted:
        return wanted
    raise UnknownOrientation(
        f"{path} has the EXIF orientation {number}, and nothing says whether boxes refer to its stored or its upright "
        'pixels: give dataset_options.orientation=upright (or stored), or in your rows "orientation", or "width" and '
        '"height" if these differ'
    )
