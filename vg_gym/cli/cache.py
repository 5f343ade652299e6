"""``vg-gym cache``: what commands keep on the disk, and its deletion."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from vg_gym.cli.parsers import add_command
from vg_gym.storage.files import cache_folder, writing

KINDS = {
    "features": "features of images and expressions; computed again if missing",
    "played": "features of single episodes and pictures; computed again if missing",
    "boxes": "initial boxes of methods; computed again if missing",
    "lattice": "scores of crops; computed again if missing",
    "refscenes": "drawn scenes; drawn again if missing",
    "refscenes-any": "drawn scenes; drawn again if missing",
    "index": "places of lines in annotation files; found again if missing",
    "minari": "episodes of an interrupted vg-gym minari; played again if missing",
    "weights": "published weights; downloaded again if missing",
}
"""Folder in the cache -> its content. Other folders are listed, but only ``all`` deletes them."""
ALL = "all"
"""Value of ``--clear`` that deletes the whole cache."""
MEGABYTE = 1e6


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "List what commands keep on the disk, or delete it. Everything in it is made or downloaded again on demand."
    parser = add_command(commands, "cache", about, cache)
    help_text = "delete one kind of files, or all; no other command may be running"
    parser.add_argument("--clear", choices=(*KINDS, ALL), help=help_text)


def cache(options: argparse.Namespace) -> None:
    """Print the size of each kind of kept files, or delete some.

    Raises:
        CannotWrite: a file cannot be deleted.
    """
    folder = cache_folder()
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    chosen = [path for path in paths if options.clear in (path.name, path.stem, ALL)]
    if options.clear:
        size = sum(map(size_of, chosen))
        for path in chosen:
            _delete(path)
        print(f"deleted {size / MEGABYTE:,.1f} MB of {folder}")
        return
    for path in paths:
        print(f"{size_of(path) / MEGABYTE:10,.1f} MB  {path.name:14}  {KINDS.get(path.stem, '')}".rstrip())
    print(f"{sum(map(size_of, paths)) / MEGABYTE:10,.1f} MB  in {folder}; delete with: vg-gym cache --clear {ALL}")


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def _delete(path: Path) -> None:
    with writing(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
