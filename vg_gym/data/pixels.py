"""The one way from an image file to uint8 RGB.

Whatever is transparent is laid on white, and 16-bit values are scaled, not clipped, to 8 bits. A file may say by its
EXIF orientation that its pixels are to be turned or mirrored: people look at the *upright* image, and many annotations,
COCO's among them, refer to the *stored* one.
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

from vg_gym.errors import ImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What is read, whatever a file is called; Pillow's others are rare, and some run programs, as Ghostscript for EPS."""
MAX_MEGAPIXELS = 150.0
"""Size of an image beyond which it is refused: a small file may claim to be large, and 150 take half a gigabyte."""
LIMIT_VARIABLE = "VG_GYM_MAX_MEGAPIXELS"
"""Environment variable with another limit, up to the 178 of Pillow."""
STORED, UPRIGHT, UNKNOWN = "stored", "upright", ""
ORIENTATIONS = (STORED, UPRIGHT)
"""What boxes may refer to: the pixels as the file stores them, or the image as its EXIF orientation turns it."""
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
"""EXIF orientation -> what turns an upright image into the stored one; the others are stored upright."""
_SCALES = {"1": 255, "L;2": 85, "L;4": 17}
"""Pillow's name of grey pixels of a few bits -> by how much it multiplies them, but not the transparent one."""
_WIDTH, _HEIGHT, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 256, 257, 258, 262, 0
# What Pillow's decoders raise on damaged files; anything else is a bug of ours, and is raised as it is.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError,
           Image.DecompressionBombWarning)  # fmt: skip


class UnknownOrientation(ImageError):
    """An image that is turned, where nothing says whether its boxes are."""


@lru_cache(1)
def _formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that this Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def opened(path: Path | str, file: IO[bytes] | None = None) -> Iterator[Image.Image]:
    """The image in a file, not yet decoded; every failure in the block becomes an error that names the file.

    Args:
        path: of the file.
        file: its bytes, where it is no file of its own; then ``path`` is a name for errors.

    Raises:
        VGGymError: the file is missing, damaged, or of a kind that is not known.
    """
    try:
        with Image.open(path if file is None else file, formats=_formats()) as image:
            pixels, most = image.width * image.height, float(os.environ.get(LIMIT_VARIABLE, MAX_MEGAPIXELS))
            if pixels > most * 1e6:
                raise ValueError(f"{pixels / 1e6:,.0f} megapixels, more than {most:g}; {LIMIT_VARIABLE} sets the limit")
            if (transparent := _transparent_value(image)) is not None:
                image.info["transparency"] = transparent
            yield image
    except FileNotFoundError as error:
        raise ImageError(f"no image {path}; download the images or correct root=") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"damaged or unsupported image {path} ({reason}); fetch this file again") from error


def to_rgb(image: Image.Image, orientation: str = UPRIGHT) -> np.ndarray:
    """A Pillow image of any mode as uint8 RGB (H, W, 3).

    Args:
        image: of :func:`opened`, or any other.
        orientation: one of :data:`ORIENTATIONS`.

    Raises:
        ValueError: a mode with no known range of values (floating point, or 32-bit beyond 16 bits).
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
    """The colour that counts as transparent, as Pillow decodes it; Pillow gives it as the file stores it."""
    value = image.info.get("transparency")
    stored_as = next((str(tile[3]) for tile in getattr(image, "tile", ())[:1]), "")
    if isinstance(value, tuple) and ";16" in stored_as:
        return tuple(part >> 8 for part in value)
    return min(255, value * _SCALES.get(stored_as, 1)) if isinstance(value, int) and image.mode in ("1", "L") else value


def _from_16_bit(image: Image.Image, tags: object, transparent: object) -> np.ndarray:
    """Grey values of 16 bits, or of as many as a TIFF's tags say, as uint8 RGB (H, W, 3)."""
    # Mode "I" is 32-bit, but older Pillow opens 16-bit PNG with it; only the values tell.
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
    """The EXIF orientation of an image that is not yet decoded; 1 where it says none."""
    number = image.getexif().get(_ORIENTATION)
    return number if isinstance(number, int) and number in _BACK else 1


def size_in(image: Image.Image, orientation: str) -> tuple[int, int]:
    """(width, height) in pixels of an image that is not yet decoded, in one of :data:`ORIENTATIONS`."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow itself turns these, some versions at opening, some at decoding
        width, height = (int(image.tag_v2[tag]) for tag in (_WIDTH, _HEIGHT))  # type: ignore[attr-defined]
    return (height, width) if orientation == UPRIGHT and _number(image) in _ON_THEIR_SIDE else (width, height)


def chosen_orientation(image: Image.Image, wanted: str, known_size: tuple[int, int] | None, path: Path | str) -> str:
    """Which of :data:`ORIENTATIONS` the annotations of an image mean.

    Their size of the image decides where it is that of one alone; else ``wanted`` does.

    Args:
        image: not yet decoded.
        wanted: what the data set says, or :data:`UNKNOWN`.
        known_size: (width, height) by the annotations, if they say.
        path: its name, for errors.

    Raises:
        UnknownOrientation: nothing says which, and the two differ.
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
        'pixels: give dataset_options.orientation=upright (or stored); in rows of your own "orientation", or "width" '
        'and "height" where these differ'
    )
