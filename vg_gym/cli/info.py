"""``vg-gym info``."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vg_gym import __version__
from vg_gym.errors import VGGymError
from vg_gym.registry import DATASETS, DatasetSpec, list_datasets, list_grounders

LIBRARIES = ("gymnasium", "stable-baselines3", "torch", "open_clip_torch", "numpy", "pillow", "pycocotools")
"""Packages with printed versions."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("info", help="print versions, and the data sets and grounders on this machine")
    parser.add_argument("--root", type=Path, help="folder of the data sets (default: $VG_GYM_DATA)")
    parser.set_defaults(command=info)


def info(options: argparse.Namespace) -> None:
    """Print the versions of libraries, the data sets with their folders, and the grounders."""
    print(f"vg_gym {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("\nlibraries")
    for name in LIBRARIES:
        print(f"  {name:20} {_version(name)}")
    print("\ndata sets")
    for name, dataset in list_datasets().items():
        print(f"  {name:20} {whereabouts(name, dataset, options.root)[1]}")
    print("\ngrounders")
    for name, grounder in list_grounders().items():
        print(f"  {name:20} {grounder.summary}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def whereabouts(name: str, spec: DatasetSpec, root: Path | None) -> tuple[bool, str]:
    """Return whether a data set is available, and the places of its annotations and images or the error.

    Args:
        name: name of the data set.
        spec: specification of the data set.
        root: folder of the data sets; by default ``$VG_GYM_DATA``.
    """
    from vg_gym.data.refcoco import PUBLISHED_SETS, find_annotations, image_folders

    if not spec.read_from_disk:
        return True, "built in" if name in DATASETS else "made on demand"
    if name not in PUBLISHED_SETS:
        return bool(root), "read from root=FOLDER"
    try:
        annotations = find_annotations(name, root)
    except VGGymError as error:
        return False, str(error)
    images = next((str(folder) for folder in image_folders(annotations) if _has_images(folder)), None)
    return images is not None, f"{annotations}; {images or 'no images found'}"


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.jpg"), None) is not None
