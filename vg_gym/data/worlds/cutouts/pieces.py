"""Cut-outs of a user: PNG files with alpha, each named by the noun of what it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from vg_gym.errors import VGGymError
from vg_gym.storage.files import fingerprint

MIN_ALPHA = 128
"""Alpha from which a pixel belongs to the thing, of 255."""
MAX_SIDE_PX = 640
"""Longest side of a cut-out in memory; larger ones are made smaller."""
MAX_IN_MEMORY = 256
"""Number of cut-outs whose pixels stay in memory, at most 1.6 MB each."""
MIN_NOUNS = 2
"""Smallest number of nouns that scenes can be composed of."""


@dataclass(frozen=True)
class Cutout:
    """A file with the noun of what it shows."""

    path: Path
    noun: str


@dataclass(frozen=True)
class Cutouts:
    """The cut-outs of a folder."""

    pieces: tuple[Cutout, ...]
    """Cut-outs by path."""
    fingerprint: str
    """Hash of the nouns and the content of all files."""

    @property
    def nouns(self) -> tuple[str, ...]:
        """The different nouns, sorted."""
        return tuple(sorted({piece.noun for piece in self.pieces}))


@lru_cache(8)
def read_cutouts(folder: str) -> Cutouts:
    """Return the cut-outs of a folder and its subfolders, each checked.

    The noun of a file is the name of its subfolder, or its own name without a number at the end: ``dog/a.png``,
    ``dog.png`` and ``dog_2.png`` show a dog, and ``fire_hydrant.png`` a fire hydrant.

    Raises:
        VGGymError: the folder is missing, lacks PNG files or contains only one noun, or a file is not a cut-out.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise VGGymError(f"compose={folder}: there is no such folder; name one with PNG files of single things")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".png" and path.is_file())
    if not paths:
        raise VGGymError(f"compose={folder}: no PNG file; put cut-outs there, such as dog.png, dog_2.png or dog/1.png")
    pieces = tuple(Cutout(path, noun_of(path, root)) for path in paths)
    for piece in pieces:
        pixels_of(piece)
    cutouts = Cutouts(pieces, fingerprint([piece.noun for piece in pieces], *paths)[:16])
    if len(cutouts.nouns) < MIN_NOUNS:
        raise VGGymError(
            f"compose={folder}: all {len(pieces)} cut-outs show a {cutouts.nouns[0]}; add one of another noun"
        )
    return cutouts


def noun_of(path: Path, root: Path) -> str:
    """Return the noun of a file in a folder.

    >>> noun_of(Path("own/Fire_Hydrant-12.png"), Path("own")), noun_of(Path("own/dog/000123.png"), Path("own"))
    ('fire hydrant', 'dog')

    Raises:
        VGGymError: the name lacks a noun.
    """
    name = path.parent.name if path.parent != root else re.sub(r"[ _-]*\d+$", "", path.stem)
    noun = " ".join(re.split(r"[ _]+", name.lower())).strip()
    if not re.fullmatch(r"[a-z]+(['-][a-z]+)*( [a-z]+(['-][a-z]+)*)*", noun):
        raise VGGymError(f"{path}: its noun would be {noun!r}; name the file or its folder by words, such as dog_2.png")
    return noun


@lru_cache(MAX_IN_MEMORY)
def pixels_of(piece: Cutout) -> np.ndarray:
    """Return the pixels of a cut-out without its empty border, uint8 RGBA (H, W, 4).

    Raises:
        VGGymError: the file cannot be read, lacks alpha, or shows nothing or has nothing around what it shows.
    """
    try:
        with Image.open(piece.path) as image:
            if "A" not in image.getbands() and "transparency" not in image.info:
                raise VGGymError(f"{piece.path}: no alpha channel; save it as PNG with alpha, 0 around the thing")
            pixels = np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VGGymError(f"{piece.path}: cannot be read as a picture ({error}); replace or remove it") from error
    mask = pixels[..., 3] >= MIN_ALPHA
    if not mask.any():
        raise VGGymError(f"{piece.path}: its mask is empty, no alpha is {MIN_ALPHA} or more; replace or remove it")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return _small(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _small(pixels: np.ndarray) -> np.ndarray:
    """Return pixels whose longest side is at most :data:`MAX_SIDE_PX`."""
    height, width = pixels.shape[:2]
    if max(width, height) <= MAX_SIDE_PX:
        return pixels.copy()
    scale = MAX_SIDE_PX / max(width, height)
    return resized(pixels, (max(1, round(width * scale)), max(1, round(height * scale))))


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return RGBA pixels in another size (width, height); transparent ones do not bleed into the others."""
    image = Image.fromarray(pixels, "RGBA").convert("RGBa").resize(size, Image.Resampling.BILINEAR)
    return np.asarray(image.convert("RGBA"))
