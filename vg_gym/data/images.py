"""Lazy references of data sets to image files and arrays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vg_gym.data.content import digest_of_file
from vg_gym.data.opaque import seal_text, unseal_text
from vg_gym.data.pixels import UPRIGHT, chosen_orientation, opened, size_in, to_rgb
from vg_gym.errors import ImageError, VGGymError
from vg_gym.types import ArrayLike


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as uint8 RGB (H, W, 3), upright.

    Raises:
        ImageError: the file is missing, damaged, truncated or of a pixel type without a known range; the message names
            the file.
    """
    with opened(Path(path)) as image:
        return to_rgb(image)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) in pixels of the upright image from the file's header.

    Raises:
        ImageError: the file is missing or not an image.
    """
    with opened(Path(path)) as image:
        return size_in(image, UPRIGHT)


@dataclass(frozen=True)
class FileImage(ArrayLike):
    """An image on disk; implements :class:`vg_gym.types.ImageRef`.

    Args:
        path: expected path of the file.
        name: path within the data set; by default ``path``.
        known_size: (width, height) by the annotations, if they state it. A file of another size is an error, because
            every annotated box in it would be wrong.
        elsewhere: paths to try if ``path`` does not exist.
        orientation: pixels that boxes refer to, of :data:`vg_gym.data.pixels.ORIENTATIONS`, unless ``known_size``
            decides it. Empty means unknown; an image whose two orientations differ is then an error.
    """

    path: Path
    name: str | None = None
    known_size: tuple[int, int] | None = None
    elsewhere: tuple[Path, ...] = field(default=(), repr=False)
    orientation: str = UPRIGHT

    @property
    def key(self) -> str:
        """Identity of the pixels: a digest of the file, the orientation, and the name."""
        name = str(self.path) if self.name is None else self.name
        digest = digest_of_file((self.path, *self.elsewhere))
        return f"{digest}{self._suffix()}@{name}" if digest else name

    def _suffix(self) -> str:
        """Return the part of the key for orientation and size, on which the pixels depend beside the file."""
        if self.known_size is None and self.orientation == UPRIGHT:
            return ""
        return f"-{self.orientation}{'x'.join(map(str, self.known_size or ()))}"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, read without decoding the image."""
        if self.known_size is not None:
            return self.known_size
        path = self.find()
        with opened(path) as image:
            return size_in(image, chosen_orientation(image, self.orientation, None, path))

    def find(self) -> Path:
        """Return the first of ``path`` and ``elsewhere`` that exists.

        Raises:
            ImageError: none exists; the message lists the searched folders.
        """
        for place in (self.path, *self.elsewhere):
            if place.is_file():
                return place
        folders = ", ".join(str(place.parent) for place in (self.path, *self.elsewhere))
        raise ImageError(f"no image {self.path.name}; looked in {folders}; download the images or correct root=")

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3).

        Raises:
            ImageError: the file is missing or damaged, its size differs from the annotated one, or its EXIF
                orientation turns it and the orientation of the boxes is unknown.
        """
        path = self.find()
        with opened(path) as image:
            pixels = to_rgb(image, chosen_orientation(image, self.orientation, self.known_size, path))
        size = (pixels.shape[1], pixels.shape[0])
        if self.known_size not in (None, size):
            expected = "x".join(map(str, self.known_size or ()))
            raise ImageError(f"{path} is {size[0]}x{size[1]}, the annotations say {expected}; get the original image")
        return pixels


@dataclass(frozen=True)
class SealedImage(ArrayLike):
    """An image on disk whose path would tell the answer; implements :class:`vg_gym.types.ImageRef`.

    The paths are sealed (:func:`vg_gym.data.opaque.seal_text`), so that a method that reads attributes does not see
    them.
    """

    sealed: str
    """Sealed arguments of :class:`FileImage`."""

    @classmethod
    def of(cls, image: FileImage) -> SealedImage:
        """Return an image with sealed paths."""
        paths = [str(path) for path in (image.path, *image.elsewhere)]
        return cls(seal_text(json.dumps([paths, image.name, image.known_size, image.orientation])))

    def _image(self) -> FileImage:
        (first, *others), name, size, orientation = json.loads(unseal_text(self.sealed))
        return FileImage(Path(first), name, tuple(size) if size else None, tuple(map(Path, others)), orientation)

    @property
    def key(self) -> str:
        """Identity of the pixels."""
        return self._image().key

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._image().size

    def array(self) -> np.ndarray:
        """Return the pixels, uint8 RGB (H, W, 3); see :meth:`FileImage.array`."""
        return self._image().array()


class ArrayImage(ArrayLike):
    """An image in memory for a user's queries; implements :class:`vg_gym.types.ImageRef`.

    Args:
        array: pixels, uint8 RGB (H, W, 3).
        key: identity of the image for caches; by default a hash of the pixels.

    Raises:
        VGGymError: the array has another type or shape.
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
        """Return the pixels, uint8 RGB (H, W, 3)."""
        return self._array
