"""``vg-gym download``."""

from __future__ import annotations

import argparse
from pathlib import Path

DOWNLOADS = {"refcocog": "refcocog-umd", "refcoco": "refcoco-unc", "refcoco+": "refcoco+-unc"}
"""Name of a download -> the data set that opens it."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("download", help="fetch the annotations of a data set, and COCO's images")
    parser.add_argument("name", choices=DOWNLOADS, help="data set to fetch")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the files")
    parser.add_argument("--images", action="store_true", help="also fetch COCO train2014 (13.5 GB, and unpacked again)")
    parser.add_argument("--mirror", action="append", default=[], metavar="URL", help="address to try first")
    parser.set_defaults(command=download)


def download(options: argparse.Namespace) -> None:
    """Fetch, check and unpack the archives, and print the options that use them."""
    from vg_gym.data.archives import ARCHIVES, IMAGES
    from vg_gym.data.download import install

    archives = [ARCHIVES[options.name], *([IMAGES] if options.images else [])]
    for archive in archives:
        print(f"{archive.name} is unpacked in {install(archive, options.root, options.mirror)}")
    print(f"use it with: dataset={DOWNLOADS[options.name]} root={options.root}")
