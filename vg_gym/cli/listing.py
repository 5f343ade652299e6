"""``vg-gym list``."""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from vg_gym import ENVIRONMENTS
from vg_gym.registry import list_datasets, list_grounders, list_proposers
from vg_gym.registry.specs import Spec
from vg_gym.storage.assets import built_in_names

PACKAGES = {
    "pipelines": ("ultralytics", "transformers", "segment_anything", "skimage"),
    "foundation": ("ultralytics", "transformers", "pyarrow"),
}
"""Extra -> packages that it brings, by which it is known to be there."""


def add(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = commands.add_parser("list", help="what there is: grounders, data sets, environments, detectors, CLIPs")
    parser.add_argument("what", choices=("grounders", "datasets", "envs", "detectors", "clips"))
    parser.set_defaults(command=listing)


def listing(options: argparse.Namespace) -> None:
    """Print names, what each is, and what it needs that is not there."""
    for name, about in _rows(options.what):
        print(f"{name:28} {about}")


def _rows(what: str) -> list[tuple[str, str]]:
    if what == "envs":
        return [(name, f"plays {dataset}") for name, dataset in ENVIRONMENTS.items()]
    if what == "clips":
        import open_clip

        built_in = [(name, "built in") for name in built_in_names("clip")]
        return [*built_in, *((f"{model}:{tag}", "fetched") for model, tag in open_clip.list_pretrained())]
    if what == "datasets":
        return [
            (
                name,
                f"{spec.summary}; {'read from disk' if spec.read_from_disk else 'built in'}; {', '.join(spec.splits)}",
            )
            for name, spec in list_datasets().items()
        ]
    specs = list_grounders() if what == "grounders" else list_proposers()
    agents = built_in_names("agent") if what == "grounders" else []
    rows = [(name, spec.summary + _lacking(spec)) for name, spec in specs.items()]
    return [*rows, *((f"agent:{name}", "built-in agent") for name in agents)]


def _lacking(spec: Spec) -> str:
    """What has to be installed for it."""
    there = all(find_spec(package) for package in PACKAGES.get(spec.extra, ()))
    return "" if there else f'; needs pip install "vg_gym[{spec.extra}]"'
