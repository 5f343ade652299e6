"""``vg-gym download`` and ``features``: commands that fetch a data set and compute its features."""

from __future__ import annotations

import argparse
from pathlib import Path

from vg_gym.cli.parsers import add_command, add_plugins
from vg_gym.errors import VGGymError
from vg_gym.registry import dataset_spec, load_plugins
from vg_gym.registry.photographs import clip_for, drawn_clips, is_drawn
from vg_gym.runtime.runners import RUNNERS, make_runner

DOWNLOADS = {"refcocog": "refcocog-umd", "refcoco": "refcoco-unc", "refcoco+": "refcoco+-unc"}
"""Name of a download -> the data set that opens it."""


def add_download(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Fetch the annotations of a data set, and COCO's images"
    parser = add_command(commands, "download", about, download)
    parser.add_argument("name", choices=DOWNLOADS, help="data set to fetch")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of the files")
    parser.add_argument("--images", action="store_true", help="also fetch COCO train2014 (13.5 GB, and unpacked again)")
    parser.add_argument("--mirror", action="append", default=[], metavar="URL", help="address to try first")


def download(options: argparse.Namespace) -> None:
    """Fetch, check and unpack the archives, and print the options that use them."""
    from vg_gym.data.archives import ARCHIVES, IMAGES
    from vg_gym.data.download import install

    archives = [ARCHIVES[options.name], *([IMAGES] if options.images else [])]
    for archive in archives:
        print(f"{archive.name} is unpacked in {install(archive, options.root, options.mirror)}")
    print(f"use it with: dataset={DOWNLOADS[options.name]} root={options.root}")


def add_features(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "Compute CLIP's features of a data set, or resume an interrupted run"
    parser = add_command(commands, "features", about, features)
    parser.add_argument(
        "--dataset", metavar="NAME", help="data set (vg-gym list datasets), FILE.jsonl with your data, or hub:ORG/NAME"
    )
    parser.add_argument("--root", type=Path, help="folder of the data set (default: $VG_GYM_DATA)")
    parser.add_argument("--clip", help="name of the CLIP (default: refshapes for built-in data, else ViT-B-32:openai)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the features")
    parser.add_argument("--splits", help="comma-separated splits, e.g. train,val (default: all)")
    parser.add_argument("--phrases", action="store_true", help="also make score maps of noun phrases")
    parser.add_argument("--tokens", action="store_true", help="also encode the tokens of expressions; needs much space")
    parser.add_argument("--proposals", default="", metavar="NAME", help="also store proposals of a proposer, e.g. ssd")
    parser.add_argument("--edge-profiles", action="store_true", help="also store edge maps")
    parser.add_argument("--device", default="auto", help="device of the CLIP: auto, cpu, cuda, ...")
    parser.add_argument("--limit", type=int, metavar="N", help="use only the first N images of each split")
    parser.add_argument("--shard", type=int, default=256, metavar="N", help="number of images in a shard")
    parser.add_argument("--runner", choices=RUNNERS, default="local", help="runner of the work")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="workers of the runner; 0: one per CPU")
    parser.add_argument("--verify", action="store_true", help="only check all checksums of --out")
    add_plugins(parser)


def features(options: argparse.Namespace) -> None:
    """Make a feature store, or check one.

    Raises:
        VGGymError: no data set is named, the store is damaged, or it contains other features.
    """
    load_plugins(options.plugins)
    if options.verify:
        _verify(options.out)
    elif options.dataset is None:
        raise VGGymError("name the data set: --dataset, e.g. refcocog-umd")
    else:
        _extract(options)


def _verify(out: Path) -> None:
    from vg_gym.features.command import verified

    print(f"all shards of {out} are intact: {verified(out).manifest.images:,} images")


def _extract(options: argparse.Namespace) -> None:
    from vg_gym.clip.known_words import warn_of_dataset
    from vg_gym.envs.options import EnvOptions
    from vg_gym.features import command, extraction
    from vg_gym.features.edge_maps import edge_map_arrays
    from vg_gym.features.query_proposals import QueryProposals

    clip = options.clip or clip_for(options.dataset)
    if options.limit is not None and options.limit < 1:
        raise VGGymError(f"--limit {options.limit} must be at least 1")
    runner = make_runner(options.runner, options.workers)
    splits = options.splits.split(",") if options.splits else [*dataset_spec(options.dataset).splits]
    queries = command.queries_of(options.dataset, options.root, splits, options.limit)
    about = {"dataset": options.dataset, "root": str(options.root or ""), "splits": splits, "command": options.line}
    load = command.loader(clip, options.device)
    warn_of_dataset(drawn_clips(clip, options.dataset), options.dataset, queries)
    parts = (options.phrases, options.tokens, options.shard)
    encoder = load()
    arrays = [QueryProposals(options.proposals, EnvOptions.num_proposals, encoder).images] if options.proposals else []
    arrays += [edge_map_arrays()] if options.edge_profiles else []
    work = extraction.begin(options.out, queries, encoder, *parts, load, **about)
    print(work.summary(), flush=True)
    store = work.run(runner)
    for images in arrays:
        images.make_in(store, work.images)
    print(f"use it with: {_training_with(options)}")


def _training_with(options: argparse.Namespace) -> str:
    """Return a training that finds all its images in the store."""
    from vg_gym.agents.config import TrainConfig

    words = [f"python train_agent.py features={options.out}"]
    if options.limit and is_drawn(options.dataset):  # a scene has several expressions, of which evaluations take some
        few = {name: min(options.limit, getattr(TrainConfig, name)) for name in ("eval_samples", "test_samples")}
        words += [f"dataset_options.scenes={options.limit}", *(f"{name}={value}" for name, value in few.items())]
    return " ".join(words)
