"""The published archives: their names and addresses, the check of a downloaded file, and safe unpacking."""

from __future__ import annotations

import hashlib
import shutil
import stat
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from vg_gym.errors import VGGymError
from vg_gym.storage.files import temporary_folder


class WrongFile(Exception):
    """A file is not the expected archive; the message says why."""


@dataclass(frozen=True)
class Archive:
    """A zip file and its addresses.

    Args:
        name: file name.
        mirrors: addresses, tried in order.
        marker: path that marks the contents to unpack: all that lies beside it (a file) or in it (a folder, ending
            in "/").
        target: folder of the unpacked contents, below the data folder.
        size: number of bytes, if known.
        sha256: checksum, if known; otherwise the checksums inside the zip file are used.
    """

    name: str
    mirrors: tuple[str, ...]
    marker: str
    target: str
    size: int | None = None
    sha256: str | None = None


def _unc(folder: str, snapshot: str, size: int, sha256: str) -> Archive:
    """Return an archive of the University of North Carolina; its server is gone, the Internet Archive has a copy."""
    origin = f"https://bvisionweb1.cs.unc.edu/licheng/referit/data/{folder}.zip"
    mirrors = (
        f"https://web.archive.org/web/{snapshot}id_/{origin}",
        f"https://web.archive.org/web/2id_/{origin}",
        origin,
    )
    return Archive(f"{folder}.zip", mirrors, "instances.json", folder, size, sha256)


# Several independent users of the archived files have published these sizes and checksums.
ARCHIVES = {
    "refcocog": _unc(
        "refcocog", "20220413012904", 56_712_951, "3d1f7e5b2ff2205940bf59de55f861f5f2cc1403fb980669933a7f9af1aa8211"
    ),
    "refcoco": _unc(
        "refcoco", "20220413011718", 53_993_993, "7f924bb7ed8dc4568058e4ff626281918d56e5206f4c868c5a80f088f38c8bf0"
    ),
    "refcoco+": _unc(
        "refcoco+", "20220413011656", 45_613_210, "5f1238112d63199e68da54a28f201471909b21ded7ed79a57d51b4c1443c6b45"
    ),
}
"""Data set -> the archive of its annotations."""
IMAGES = Archive(
    "train2014.zip",
    ("http://images.cocodataset.org/zips/train2014.zip", "https://images.cocodataset.org/zips/train2014.zip"),
    "train2014/",
    "images/train2014",
    13_510_573_713,
    "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775",
)
"""The images of all RefCOCO-type sets (COCO train2014)."""


def sha256(path: Path) -> str:
    """Return SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(archive: Archive, path: Path) -> None:
    """Compare a file with the size and checksum of the archive, or test the zip file where no checksum is known.

    Raises:
        WrongFile: the file is another one, or damaged.
    """
    size = path.stat().st_size
    if archive.size not in (None, size):
        raise WrongFile(f"it has {size:,} bytes instead of {archive.size:,}")
    if archive.sha256 is not None:
        if (digest := sha256(path)) != archive.sha256:
            raise WrongFile(f"its SHA-256 is {digest} instead of {archive.sha256}")
    else:
        _check_zip(path)
        print(
            f"{archive.name}: no checksum is published; intact as a zip file, SHA-256 {sha256(path)}", file=sys.stderr
        )


DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
"""Exceptions of the standard library for archives that are incomplete or of an unsupported kind."""


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except DAMAGED as error:
        raise WrongFile(f"it is not an intact zip file ({error})") from error
    if damaged:
        raise WrongFile(f"its entry {damaged} is damaged")


def is_unpacked(archive: Archive, root: Path) -> bool:
    """Return whether the archive is already unpacked below ``root``."""
    target = root / archive.target
    if archive.marker.endswith("/"):
        return target.is_dir() and any(target.iterdir())
    return (target / archive.marker).is_file()


def extract(archive: Archive, path: Path, root: Path) -> Path:
    """Unpack the marked contents of an archive to ``root / archive.target`` and return that folder.

    The folder appears only once it is complete.

    Raises:
        VGGymError: an entry leads out of the folder or is a link, the archive is damaged or lacks its marker, or the
            disk is full.
    """
    target = root / archive.target
    try:
        with temporary_folder(target) as part, zipfile.ZipFile(path) as file:
            _refuse_unsafe(file, path, part)
            file.extractall(part)
            _marked_folder(archive, path, part).replace(target)
    except (*DAMAGED, OSError) as error:
        raise VGGymError(f"cannot unpack {path} to {target}: {error}; free space or move {target} away") from error
    return target


def _refuse_unsafe(file: zipfile.ZipFile, path: Path, folder: Path) -> None:
    for entry in file.infolist():
        inside = (folder / entry.filename).resolve().is_relative_to(folder.resolve())
        if not inside or stat.S_ISLNK(entry.external_attr >> 16) or "\\" in entry.filename:
            raise VGGymError(f"refused to unpack {path}: entry {entry.filename!r} leads out of it; delete the file")
    needed, free = sum(entry.file_size for entry in file.infolist()), shutil.disk_usage(folder).free
    if needed > free:
        raise VGGymError(
            f"{path} needs {needed / 1e9:.1f} GB, but {folder.parent.parent} has {free / 1e9:.1f} GB; free space"
        )


def _marked_folder(archive: Archive, path: Path, folder: Path) -> Path:
    markers = sorted(folder.rglob(archive.marker.rstrip("/")), key=lambda place: len(place.parts))
    markers = [place for place in markers if place.is_dir() == archive.marker.endswith("/")]
    if not markers:
        raise VGGymError(f"{path} holds no {archive.marker}; delete it and fetch it from another mirror")
    return markers[0] if markers[0].is_dir() else markers[0].parent
