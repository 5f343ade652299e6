"""The command ``vg-gym``."""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vg_gym import __version__
from vg_gym.cli.run import run
from vg_gym.errors import VGGymError
from vg_gym.registry import DATASETS, GROUNDERS
from vg_gym.runners import RUNNERS, make_runner

DOWNLOADS = {"refcocog": "refcocog-umd", "refcoco": "refcoco-unc", "refcoco+": "refcoco+-unc"}
"""What ``vg-gym download`` fetches -> the data set one then opens."""
LIBRARIES = ("gymnasium", "stable-baselines3", "torch", "open_clip_torch", "numpy", "pillow", "pycocotools")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``vg-gym``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments, argparse.Namespace(line=shlex.join(["vg-gym", *arguments])))
    run(lambda: options.command(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vg-gym", description="Tools of vg_gym.")
    parser.add_argument("--version", action="version", version=f"vg-gym {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_download(commands)
    _add_features(commands)
    _add_info(commands)
    return parser


def _add_download(commands) -> None:
    parser = commands.add_parser("download", help="fetch the annotations of a data set, and COCO's images")
    parser.add_argument("name", choices=DOWNLOADS)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where to put it (default: %(default)s)")
    parser.add_argument("--images", action="store_true", help="also COCO train2014, 13.5 GB to fetch, as much unpacked")
    parser.add_argument("--mirror", action="append", default=[], metavar="URL", help="try this address first")
    parser.set_defaults(command=_download)


def _download(options: argparse.Namespace) -> None:
    from vg_gym.data.archives import ARCHIVES, IMAGES
    from vg_gym.data.download import install

    archives = [ARCHIVES[options.name], *([IMAGES] if options.images else [])]
    for archive in archives:
        print(f"{archive.name} is unpacked in {install(archive, options.root, options.mirror)}")
    print(f"use it with: dataset={DOWNLOADS[options.name]} root={options.root}")


def _add_features(commands) -> None:
    parser = commands.add_parser("features", help="compute CLIP's features of a data set once; go on where one stopped")
    parser.add_argument("--dataset", choices=DATASETS)
    parser.add_argument("--root", type=Path, help="the data set's folder (default: $VG_GYM_DATA)")
    parser.add_argument("--clip", default="refshapes", help="e.g. ViT-B-32:openai (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the features")
    parser.add_argument("--splits", help="e.g. train,val (default: all)")
    parser.add_argument("--phrases", action="store_true", help="also score maps of noun phrases")
    parser.add_argument("--tokens", action="store_true", help="also features of the tokens of expressions; much space")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images of each split")
    parser.add_argument("--shard", type=int, default=256, metavar="N", help="images at a time (default: %(default)s)")
    parser.add_argument("--runner", choices=RUNNERS, default="local", help="where to do it (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="of the runner; 0: one for each CPU")
    parser.add_argument("--verify", action="store_true", help="make nothing; check all checksums of --out")
    parser.set_defaults(command=_features)


def _features(options: argparse.Namespace) -> None:
    from vg_gym.features import command, extraction

    if options.verify:
        store = command.verified(options.out)
        print(f"all shards of {options.out} are intact: {store.manifest.images:,} images")
        return
    if options.dataset is None:
        raise VGGymError("name the data set: --dataset, e.g. refcocog-umd")
    runner = make_runner(options.runner, options.workers)
    splits = options.splits.split(",") if options.splits else _splits(options.dataset)
    queries = command.queries_of(options.dataset, options.root, splits, options.limit)
    about = {"dataset": options.dataset, "root": str(options.root or ""), "splits": splits, "command": options.line}
    load = command.loader(options.clip, options.device)
    made = (options.phrases, options.tokens, options.shard)
    work = extraction.begin(options.out, queries, load(), *made, load, **about)
    print(work.summary(), flush=True)
    work.run(runner)
    print(f"use it with: python train_agent.py features={options.out}")


def _splits(name: str) -> list[str]:
    from vg_gym.data.refcoco import PUBLISHED

    return [*PUBLISHED[name].splits] if name in PUBLISHED else ["train", "val", "test"]


def _add_info(commands) -> None:
    parser = commands.add_parser("info", help="versions, data sets and grounders, and what is found on this machine")
    parser.add_argument("--root", type=Path, help="where to look for data sets (default: $VG_GYM_DATA)")
    parser.set_defaults(command=_info)


def _info(options: argparse.Namespace) -> None:
    print(f"vg_gym {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("\nlibraries")
    for name in LIBRARIES:
        print(f"  {name:20} {_version(name)}")
    print("\ndata sets")
    for name in DATASETS:
        print(f"  {name:20} {_where(name, options.root)}")
    print("\ngrounders")
    print(f"  {', '.join(sorted(GROUNDERS))}")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _where(name: str, root: Path | None) -> str:
    """What is found of a data set: drawn, or the folder of its annotations and images, or what is missing."""
    from vg_gym.data.refcoco import PUBLISHED, find_annotations, image_folders

    if name not in PUBLISHED:
        return "built in"
    try:
        annotations = find_annotations(name, root)
    except VGGymError as error:
        return str(error)
    images = next((str(folder) for folder in image_folders(annotations) if _has_images(folder)), "no images found")
    return f"{annotations}; {images}"


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.jpg"), None) is not None
