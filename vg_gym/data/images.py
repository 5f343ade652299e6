"""Images: lazy references to files and arrays, and the one way from an image file to uint8 RGB.

Every image is brought upright (EXIF orientation), whatever is transparent is laid on white, and 16-bit values are
scaled, not clipped, to 8 bits.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from vg_gym.errors import ImageError, VGGymError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What is read, whatever a file is called; Pillow's others are rare, and some run programs, as Ghostscript for EPS."""
MAX_MEGAPIXELS = 150.0
"""Size of an image beyond which it is refused: a small file may claim to be large, and 150 take half a gigabyte."""
LIMIT_VARIABLE = "VG_GYM_MAX_MEGAPIXELS"
"""Environment variable with another limit, up to the 178 of Pillow."""
_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
# What Pillow's decoders raise on damaged files; anything else is a bug of ours, and is raised as it is.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError,
           Image.DecompressionBombWarning)  # fmt: skip


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
            yield image
    except FileNotFoundError as error:
        raise ImageError(f"no image {path}; download the images or correct root=") from error
    except (PermissionError, IsADirectoryError) as error:
        raise ImageError(f"cannot read image {path}: {error.strerror}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"damaged or unsupported image {path} ({reason}); fetch this file again") from error


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), upright.

    Raises:
        ImageError: the file is missing, damaged, cut short or of a pixel type without a known range; names the file.
    """
    with opened(Path(path)) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow image of any mode as uint8 RGB (H, W, 3), with its EXIF orientation applied.

    Raises:
        ValueError: a mode with no known range of values (floating point, or 32-bit beyond 16 bits).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range; save as 8 or 16 bits")
    if image.mode.startswith("I"):
        image = _from_16_bit(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey 16-bit values scaled to 8 bits."""
    # Mode "I" is 32-bit, but older Pillow opens 16-bit PNG with it; only the values tell.
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("32-bit pixels have no known range; save as 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels of the upright image, from the file's header.

    Raises:
        ImageError: the file is missing or not an image.
    """
    with opened(Path(path)) as image:
        return upright_size(image)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) in pixels of an image that is not yet decoded, once it is upright."""
    if image.format == "TIFF":  # Pillow itself turns these, some versions at opening, some at decoding
        return ImageOps.exif_transpose(image).size
    width, height = image.size
    return (height, width) if image.getexif().get(_ORIENTATION) in _ON_THEIR_SIDE else (width, height)


def change_mark(path: Path) -> str:
    """When a file was last changed, and its size, for names in caches: an edited image is another. Empty without it."""
    try:
        about = os.stat(path)
    except OSError:
        return ""
    return f"{about.st_mtime_ns:x}-{about.st_size:x}@"


@dataclass(frozen=True)
class FileImage:
    """An image on disk; implements :class:`vg_gym.types.ImageRef`.

    Args:
        path: where it should be.
        image_key: its identity for caches; default: the path, and when the file was changed.
        known_size: (width, height) by the annotations, if they say. A file of another size is an error, because every
            annotated box in it would be wrong.
        elsewhere: other places to look where ``path`` does not exist.
    """

    path: Path
    image_key: str | None = None
    known_size: tuple[int, int] | None = None
    elsewhere: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def key(self) -> str:
        """Identity of the pixels."""
        return self.image_key if self.image_key is not None else f"{change_mark(self.path)}{self.path}"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, upright, without decoding the pixels."""
        return self.known_size or image_size(self.find())

    def find(self) -> Path:
        """The first of ``path`` and ``elsewhere`` that exists.

        Raises:
            ImageError: none exists; lists the folders searched.
        """
        for place in (self.path, *self.elsewhere):
            if place.is_file():
                return place
        folders = ", ".join(str(place.parent) for place in (self.path, *self.elsewhere))
        raise ImageError(f"no image {self.path.name}; looked in {folders}; download the images or correct root=")

    def array(self) -> np.ndarray:
        """The pixels, uint8 RGB (H, W, 3).

        Raises:
            ImageError: the file is missing, damaged, or not of the size that the annotations say.
        """
        path = self.find()
        pixels = read_image(path)
        size = (pixels.shape[1], pixels.shape[0])
        if self.known_size not in (None, size):
            expected = "x".join(map(str, self.known_size or ()))
            raise ImageError(f"{path} is {size[0]}x{size[1]}, the annotations say {expected}; get the original image")
        return pixels


class ArrayImage:
    """An image in memory, for a user's own queries; implements :class:`vg_gym.types.ImageRef`.

    Args:
        array: uint8 RGB of shape (H, W, 3).
        key: its identity for caches; default: a hash of the pixels.

    Raises:
        VGGymError: the array is of another type or shape.
    """

    def __init__(self, array: np.ndarray, key: str | None = None):
        array = np.asarray(array)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise VGGymError(f"an image must be a uint8 array (H, W, 3), got {array.dtype} {array.shape}; see to_rgb")
        self._array = array
        self._key = key

    @property
    def key(self) -> str:
        """Identity of the pixels."""
        if self._key is None:
            digest = hashlib.sha256(repr(self._array.shape).encode() + self._array.tobytes())
            self._key = f"array-{digest.hexdigest()[:32]}"
        return self._key

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._array.shape[1], self._array.shape[0]

    def array(self) -> np.ndarray:
        """The pixels, uint8 RGB (H, W, 3)."""
        return self._array
