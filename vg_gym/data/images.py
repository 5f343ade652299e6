"""Images as data sets hold them: lazy references to files and arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vg_gym.data.content import digest_of_file
from vg_gym.data.pixels import UPRIGHT, chosen_orientation, opened, size_in, to_rgb
from vg_gym.errors import ImageError, VGGymError


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), upright.

    Raises:
        ImageError: the file is missing, damaged, cut short or of a pixel type without a known range; names the file.
    """
    with opened(Path(path)) as image:
        return to_rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """(width, height) in pixels of the upright image, from the file's header.

    Raises:
        ImageError: the file is missing or not an image.
    """
    with opened(Path(path)) as image:
        return size_in(image, UPRIGHT)


@dataclass(frozen=True)
class FileImage:
    """An image on disk; implements :class:`vg_gym.types.ImageRef`.

    Args:
        path: where it should be.
        name: path within the data set; default: the path.
        known_size: (width, height) by the annotations, if they say. A file of another size is an error, because every
            annotated box in it would be wrong.
        elsewhere: other places to look where ``path`` does not exist.
        orientation: what boxes refer to, of :data:`vg_gym.data.pixels.ORIENTATIONS`, where ``known_size`` does not
            tell; empty where that is not known, and an image that the two turn differently is an error.
    """

    path: Path
    name: str | None = None
    known_size: tuple[int, int] | None = None
    elsewhere: tuple[Path, ...] = field(default=(), repr=False)
    orientation: str = UPRIGHT

    @property
    def key(self) -> str:
        """Identity of the pixels: a digest of the file, how it is turned, and the name."""
        name = str(self.path) if self.name is None else self.name
        digest = digest_of_file((self.path, *self.elsewhere))
        return f"{digest}{self._turn()}@{name}" if digest else name

    def _turn(self) -> str:
        """What the pixels depend on beside the file."""
        if self.known_size is None and self.orientation == UPRIGHT:
            return ""
        return f"-{self.orientation}{'x'.join(map(str, self.known_size or ()))}"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, without decoding the pixels."""
        if self.known_size is not None:
            return self.known_size
        path = self.find()
        with opened(path) as image:
            return size_in(image, chosen_orientation(image, self.orientation, None, path))

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
            ImageError: the file is missing, damaged, not of the size that the annotations say, or turned by its EXIF
                orientation where nothing says whether boxes are.
        """
        path = self.find()
        with opened(path) as image:
            pixels = to_rgb(image, chosen_orientation(image, self.orientation, self.known_size, path))
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
