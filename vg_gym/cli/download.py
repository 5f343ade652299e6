"""``vg-gym download``."""

from __future__ import annotations

import argparse
from pathlib import Path

DOWNLOADS = {"refcocog": "refcocog-umd", "refcoco": "refcoco-unc", "refcoco+": "refcoco+-unc"}
"""What ``vg-gym download`` fetches -> the data set one then opens."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("download", help="fetch the annotations of a data set, and COCO's images")
    parser.add_argument("name", choices=DOWNLOADS, help="what to fetch")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where to put it")
    parser.add_argument("--images", action="store_true", help="also COCO train2014, 13.5 GB to fetch, as much unpacked")
    parser.add_argument("--mirror", action="append", default=[], metavar="URL", help="try this address first")
    parser.set_defaults(command=download)


def download(options: argparse.Namespace) -> None:
    """Fetch, check and unpack; print how to go on."""
    from vg_gym.data.archives import ARCHIVES, IMAGES
    from vg_gym.data.download import install

    archives = [ARCHIVES[options.name], *([IMAGES] if options.images else [])]
    for archive in archives:
        print(f"{archive.name} is unpacked in {install(archive, options.root, options.mirror)}")
    print(f"use it with: dataset={DOWNLOADS[options.name]} root={options.root}")
