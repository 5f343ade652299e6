"""The published archives: what they are called, where they lie, whether a file is one, and how to unpack it safely."""

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
    """A file is not the archive it should be; the message says why."""


@dataclass(frozen=True)
class Archive:
    """A zip file and where to get it.

    Args:
        name: its file name.
        mirrors: addresses, tried in order.
        marker: a file or folder that the archive holds; what lies beside it (a file) or in it (a folder, ending in
            "/") is what is wanted.
        target: where that goes, below the data folder.
        size: bytes, where known.
        sha256: checksum, where known; else the zip's own checksums must do.
    """

    name: str
    mirrors: tuple[str, ...]
    marker: str
    target: str
    size: int | None = None
    sha256: str | None = None


def _unc(folder: str, snapshot: str, size: int, sha256: str) -> Archive:
    """An archive of the University of North Carolina, whose server is gone; the Internet Archive has it."""
    origin = f"https://bvisionweb1.cs.unc.edu/licheng/referit/data/{folder}.zip"
    mirrors = (
        f"https://web.archive.org/web/{snapshot}id_/{origin}",
        f"https://web.archive.org/web/2id_/{origin}",
        origin,
    )
    return Archive(f"{folder}.zip", mirrors, "instances.json", folder, size, sha256)


# Sizes and checksums are those that several independent users of the archived files have published.
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
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check(archive: Archive, path: Path) -> None:
    """Compare a file with what is known of the archive; without a checksum, those inside the zip decide.

    Raises:
        WrongFile: it is another file, or a damaged one.
    """
    size = path.stat().st_size
    if archive.size not in (None, size):
        raise WrongFile(f"it has {size:,} bytes instead of {archive.size:,}")
    if archive.sha256 is not None:
        if (found := sha256(path)) != archive.sha256:
            raise WrongFile(f"its SHA-256 is {found} instead of {archive.sha256}")
    else:
        _check_zip(path)
        print(
            f"{archive.name}: no checksum is published; intact as a zip file, SHA-256 {sha256(path)}", file=sys.stderr
        )


DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
"""What the standard library raises for archives that are no whole ones, or of kinds that it does not read."""


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except DAMAGED as error:
        raise WrongFile(f"it is not an intact zip file ({error})") from error
    if damaged:
        raise WrongFile(f"{damaged} in it is damaged")


def is_unpacked(archive: Archive, root: Path) -> bool:
    """Whether what is wanted of the archive is below ``root`` already."""
    target = root / archive.target
    if archive.marker.endswith("/"):
        return target.is_dir() and any(target.iterdir())
    return (target / archive.marker).is_file()


def extract(archive: Archive, path: Path, root: Path) -> Path:
    """Unpack what is wanted of an archive to ``root / archive.target``, all or nothing; returns that folder.

    Raises:
        VGGymError: an entry leads out of the folder or is a link, the archive is damaged or lacks what is wanted, or
            the disk is full.
    """
    target = root / archive.target
    try:
        with temporary_folder(target) as part, zipfile.ZipFile(path) as file:
            _refuse_unsafe(file, path, part)
            file.extractall(part)
            _wanted(archive, path, part).replace(target)
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
            f"{path} needs {needed / 1e9:.1f} GB, {folder.parent.parent} has {free / 1e9:.1f} GB; free space"
        )


def _wanted(archive: Archive, path: Path, folder: Path) -> Path:
    found = sorted(folder.rglob(archive.marker.rstrip("/")), key=lambda place: len(place.parts))
    found = [place for place in found if place.is_dir() == archive.marker.endswith("/")]
    if not found:
        raise VGGymError(f"{path} holds no {archive.marker}; delete it and fetch it from another mirror")
    return found[0] if found[0].is_dir() else found[0].parent
