"""``vg-gym features``."""

from __future__ import annotations

import argparse
from pathlib import Path

from vg_gym.cli.parsing import add_plugins
from vg_gym.errors import VGGymError
from vg_gym.registry import dataset_spec, load_plugins
from vg_gym.runners import RUNNERS, make_runner


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("features", help="compute CLIP's features of a data set once; go on where one stopped")
    parser.add_argument(
        "--dataset", metavar="NAME", help="a name (vg-gym list datasets), a FILE.jsonl of your own, or hub:ORG/NAME"
    )
    parser.add_argument("--root", type=Path, help="the data set's folder (default: $VG_GYM_DATA)")
    parser.add_argument("--clip", default="refshapes", help="e.g. ViT-B-32:openai")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the features")
    parser.add_argument("--splits", help="e.g. train,val (default: all)")
    parser.add_argument("--phrases", action="store_true", help="also score maps of noun phrases")
    parser.add_argument("--tokens", action="store_true", help="also features of the tokens of expressions; much space")
    parser.add_argument("--proposals", default="", metavar="NAME", help="also the proposals of a proposer, e.g. ssd")
    parser.add_argument("--edge-profiles", action="store_true", help="also edge maps")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images of each split")
    parser.add_argument("--shard", type=int, default=256, metavar="N", help="images at a time")
    parser.add_argument("--runner", choices=RUNNERS, default="local", help="where to do it")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="of the runner; 0: one for each CPU")
    parser.add_argument("--verify", action="store_true", help="make nothing; check all checksums of --out")
    add_plugins(parser)
    parser.set_defaults(command=features)


def features(options: argparse.Namespace) -> None:
    """Make a store of features, or check one.

    Raises:
        VGGymError: no data set is named, or the store is damaged or of something else.
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
    from vg_gym.envs.options import EnvOptions
    from vg_gym.envs.proposals import QueryProposals
    from vg_gym.features import command, extraction
    from vg_gym.features.edge_maps import edge_map_arrays

    runner = make_runner(options.runner, options.workers)
    splits = options.splits.split(",") if options.splits else [*dataset_spec(options.dataset).splits]
    queries = command.queries_of(options.dataset, options.root, splits, options.limit)
    about = {"dataset": options.dataset, "root": str(options.root or ""), "splits": splits, "command": options.line}
    load = command.loader(options.clip, options.device)
    made = (options.phrases, options.tokens, options.shard)
    work = extraction.begin(options.out, queries, load(), *made, load, **about)
    print(work.summary(), flush=True)
    store = work.run(runner)
    if options.proposals:
        proposals = QueryProposals(options.proposals, EnvOptions.num_proposals, load())
        proposals.images.make_in(store, work.images)
    if options.edge_profiles:
        edge_map_arrays().make_in(store, work.images)
    print(f"use it with: python train_agent.py features={options.out}")
