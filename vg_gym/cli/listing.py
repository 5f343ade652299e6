"""``vg-gym list`` and ``info``: the methods, data sets and libraries on this machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import textwrap
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vg_gym import ENVIRONMENTS, __version__
from vg_gym.agents.supervision import first_blind, seen_by_agent
from vg_gym.cli.parsers import add_command, add_plugins
from vg_gym.errors import VGGymError
from vg_gym.registry import (
    DATASETS,
    DatasetSpec,
    dataset_spec,
    list_datasets,
    list_grounders,
    list_proposers,
    load_plugins,
)
from vg_gym.registry.checks import PACKAGES, missing_packages
from vg_gym.registry.seen import seen_by, seen_by_clip, seen_by_proposer, seen_text
from vg_gym.registry.specs import GrounderSpec, ProposerSpec, Spec
from vg_gym.registry.tables import FILES
from vg_gym.storage.assets import ASSETS, built_in_names
from vg_gym.storage.files import cache_folder

LIBRARIES = ("gymnasium", "stable-baselines3", "torch", "open_clip_torch", "numpy", "pillow", "pycocotools")
"""Packages with printed versions."""
LISTS = ("grounders", "families", "datasets", "envs", "detectors", "clips", "seen")
"""Names of the lists."""
MAX_INDENT = 24
"""Columns that the further lines of a description are indented by in a terminal, at most."""
Row = tuple[str, bool, str]
"""Name, availability, and description with requirements."""


def add_list(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    about = "List methods, data sets and environments with their requirements. Each is ready, or something is missing."
    parser = add_command(commands, "list", about, listing)
    parser.add_argument("what", choices=LISTS, help="list to print; seen: the data that each built-in part has seen")
    parser.add_argument("--root", type=Path, help="folder of the data sets; default: $VG_GYM_DATA")
    add_plugins(parser)


def listing(options: argparse.Namespace) -> None:
    """Print names, availability, descriptions and requirements, and at the end the broken plugins.

    Raises:
        VGGymError: a module of ``--plugins`` cannot be imported.
    """
    load_plugins(options.plugins)
    if options.what == "seen":
        print(seen_table())
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        rows = list(_rows(options.what, options.root))
    width = max(len(name) for name, _, _ in rows)
    for name, ready, about in rows:
        _show(f"{name:{width}}  {'ready' if ready else 'missing':7}  ", about)
    for warning in caught:
        print(f"vg-gym: warning: {warning.message}", file=sys.stderr)


def _show(head: str, text: str) -> None:
    """Print a line; a terminal gets it in lines of its width, other programs whole."""
    line = head + text
    if sys.stdout.isatty():
        columns, indent = shutil.get_terminal_size().columns, " " * min(len(head), MAX_INDENT)
        line = textwrap.fill(line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    print(line)


def _rows(what: str, root: Path | None) -> Iterator[Row]:
    if what == "envs":
        for name, dataset in ENVIRONMENTS.items():
            available, place = whereabouts(dataset, dataset_spec(dataset), root)
            yield name, True, f"plays {dataset}: {place}" if available else f"plays refshapes, as {place}"
    elif what == "datasets":
        for name, dataset_ in list_datasets().items():
            available, place = whereabouts(name, dataset_, root)
            yield name, available, "; ".join(filter(None, (*_described(dataset_), place)))
        yield "FILE.jsonl, FILE.csv, FILE.json", True, FILES.summary
    elif what == "families":
        yield from _families()
    elif what == "clips":
        yield from _clips()
    elif what == "detectors":
        yield from (_row(name, spec, spec.published) for name, spec in list_proposers().items())
    else:
        proposers = list_proposers()
        for name, spec in list_grounders().items():
            first = proposers.get(spec.proposer)
            if name == "agent":
                yield from ((agent, True, f"built-in agent; {text}") for agent, text in _agents().items())
            yield _row(name, spec, first.published if first else None)


def _described(spec: DatasetSpec) -> tuple[str, ...]:
    """Return what is known of a data set: summary, splits, targets of an expression, size and licence."""
    targets = f"an expression means {spec.targets.replace(', ', ' or ')}" if spec.targets != "one" else ""
    licence = f"licence: {spec.licence}" if spec.licence else ""
    return spec.summary, ", ".join(spec.splits), targets, spec.size, licence


def ready_grounders() -> list[str]:
    """Return the names of grounders that work without downloads and without fitting, built-in agents first."""
    agents = [f"agent:{name}" for name in built_in_names("agent")]
    specs = {name: spec for name, spec in list_grounders().items() if name != "agent" and not spec.fitted}
    return agents + [name for name, spec in specs.items() if _installed(spec) and _has_weights(spec)]


def _has_weights(spec: GrounderSpec | ProposerSpec) -> bool:
    """Return whether a grounder or a detector has weights on this machine or needs none; an agent needs a name."""
    if spec.weights and (ASSETS / spec.weights).is_dir():
        return True
    first = list_proposers().get(getattr(spec, "proposer", ""))
    if published := (first or spec).published:  # type: ignore[union-attr]
        return _is_fetched(published)
    return not spec.weights and not getattr(spec, "argument", "")


def _is_fetched(weights: str) -> bool:
    """Return whether published weights, a repository of the hub or a file, are on this machine."""
    from huggingface_hub.constants import HF_HUB_CACHE

    snapshots = Path(HF_HUB_CACHE) / f"models--{weights.replace('/', '--')}" / "snapshots"
    folders = (cache_folder() / "weights", Path("~/.cache/torch/hub/checkpoints").expanduser())
    files = (path for folder in folders for path in folder.glob(f"{weights.replace('/', '-')}*"))
    return (snapshots.is_dir() and any(snapshots.iterdir())) or any(files)


def _agents() -> dict[str, str]:
    """Return the built-in agents with the data that their parts have seen."""
    agents = {}
    for name in built_in_names("agent"):
        about = json.loads((ASSETS / f"agent-{name}" / "agent.json").read_text())
        env = about["env"]
        parts = seen_by_agent(about, about["clip"], env.get("proposals", ""), first_blind(env["initial_box"]))
        agents[f"agent:{name}"] = f"has seen: {seen_text(parts)}"
    return agents


def seen_table() -> str:
    """Return a Markdown table of the ground truth that each built-in part has seen."""
    parts = {f"CLIP `{name}`": {"method": seen_by_clip(name)} for name in built_in_names("clip")}
    parts |= {f"detector `{name}`": {"method": seen_by_proposer(name)} for name in list_proposers()}
    parts |= {f"`{name}`": seen_by(name, {}) for name in list_grounders() if name != "agent"}
    lines = [f"| {name} | {seen_text(truth).removeprefix('method: ')} |" for name, truth in parts.items()]
    lines += [f"| `{name}` | {text.removeprefix('has seen: method: ')} |" for name, text in _agents().items()]
    return "\n".join(["| part | has seen of the truth |", "|---|---|", *lines])


def _row(name: str, spec: GrounderSpec | ProposerSpec, published: str | None) -> Row:
    """Return the row of a grounder or a detector, with its summary, the extra that it needs, and its weights."""
    built_in = bool(spec.weights) and (ASSETS / spec.weights).is_dir()
    needs = [spec.summary, _extra(spec.extra)]
    if spec.weights:
        needs.append("built-in weights" if built_in else f"its weights {spec.weights} are missing")
    elif name == "agent":
        needs.append("needs a run folder: agent:RUN")
    elif getattr(spec, "argument", "") == "weights":
        needs.append(f"no built-in weights: {name}:WEIGHTS")
    if published := published or getattr(spec, "published", ""):
        state = "fetched before" if _is_fetched(published) else "not fetched yet"
        needs.append(f"{'or ' if spec.weights else ''}published weights {published}, {state}")
        needs.append(f"licence: {spec.licence}" if spec.licence else "")
    if spec.published_extra:
        needs.append(f"published weights: {_extra(spec.published_extra)}")
    if name != "agent":
        if isinstance(spec, GrounderSpec):
            needs.append(_sets(spec))
        truth = seen_text(seen_by(name, {})) if isinstance(spec, GrounderSpec) else seen_by_proposer(name)
        needs.append(f"has seen: {truth}")
    return name, _installed(spec) and _has_weights(spec), "; ".join(filter(None, needs))


def _sets(spec: GrounderSpec) -> str:
    """Return whether a grounder can answer with no box or several, in words."""
    nothing = "can answer nothing" if spec.says_nothing else "answers nothing with nothing_below" if spec.scored else ""
    several = "can answer with several boxes" if spec.says_several else ""
    return ", ".join(filter(None, [nothing, several])) or "always answers with one box"


def _extra(extra: str) -> str:
    if not extra:
        return ""
    installed = all(find_spec(package) for package in PACKAGES.get(extra, ()))
    return f"extra {extra}" if installed else f'needs pip install "vg_gym[{extra}]"'


def _installed(spec: Spec) -> bool:
    return not missing_packages(spec)


def _families() -> Iterator[Row]:
    """Yield the families of vision-language models: title, whether transformers loads them, frame, licence, source."""
    from vg_gym.baselines.foundation.families import FAMILIES

    types: dict[str, list[str]] = {}
    for name, family in FAMILIES.items():
        types.setdefault(family.title, []).append(name)
    families = {family.title: family for family in FAMILIES.values()}
    for title, family in families.items():
        answers = f"{'points' if family.points else 'boxes'} in the frame {family.frame}"
        loaded = f"vlm:MODEL, type {', '.join(types[title])}" if family.loads else "not loaded: --predictions FILE"
        about = (loaded, answers, f"prompt {family.prompt!r}", f"licence: {family.licence}", family.source)
        yield title, family.loads and _installed(list_grounders()["vlm"]), "; ".join(about)


def _clips() -> Iterator[Row]:
    import open_clip

    yield from ((name, True, "built in, knows drawn shapes") for name in built_in_names("clip"))
    for model, tag in open_clip.list_pretrained():
        fetched = _fetched(open_clip.get_pretrained_cfg(model, tag))
        yield f"{model}:{tag}", fetched, "fetched before" if fetched else "fetched at its first use"


def _fetched(config: dict) -> bool:
    """Return whether weights of open_clip are in the cache of the hub or of its downloads."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repo = os.path.split(config.get("hf_hub", ""))[0]
    snapshots = Path(HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}" / "snapshots"
    downloaded = Path("~/.cache/clip").expanduser() / os.path.basename(config.get("url", ""))
    return bool(repo and snapshots.is_dir() and any(snapshots.iterdir())) or downloaded.is_file()


def add_info(commands) -> None:
    """Add the subcommand to the parser's ``commands``."""
    parser = add_command(commands, "info", "Print versions, and the data sets and grounders on this machine", info)
    parser.add_argument("--root", type=Path, help="folder of the data sets (default: $VG_GYM_DATA)")


def info(options: argparse.Namespace) -> None:
    """Print the versions of libraries, the data sets with their folders, and the grounders."""
    print(f"vg_gym {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("\nlibraries")
    for name in LIBRARIES:
        print(f"  {name:20} {_version(name)}")
    print("\ndata sets")
    for name, dataset in list_datasets().items():
        _show(f"  {name:20} ", whereabouts(name, dataset, options.root)[1])
    print("\ngrounders")
    for name, grounder in list_grounders().items():
        _show(f"  {name:20} ", grounder.summary)


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
    from vg_gym.data.published_parquet import PUBLISHED_PARQUET, find_parquet
    from vg_gym.data.published_rows import PUBLISHED_ROWS, find_rows
    from vg_gym.data.refcoco import PUBLISHED_SETS, find_annotations, image_folders

    if not spec.read_from_disk:
        return True, "built in" if name in DATASETS else "made on demand"
    try:
        if name in PUBLISHED_ROWS:
            return True, str(find_rows(name, spec.splits[-1], root))
        if name in PUBLISHED_PARQUET:
            home = find_parquet(name, root)
            return bool(home), str(home or f"fetched from the hub, {PUBLISHED_PARQUET[name].repository}")
        if name not in PUBLISHED_SETS:
            return bool(root), "read from root=FOLDER"
        annotations = find_annotations(name, root)
    except VGGymError as error:
        return False, str(error)
    images = next((str(folder) for folder in image_folders(annotations) if _has_images(folder)), None)
    return images is not None, f"{annotations}; {images or 'no images found'}"


def _has_images(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.jpg"), None) is not None
