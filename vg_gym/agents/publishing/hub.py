"""Agents from the Hugging Face hub: ``agent:hub:ORG/NAME``.

Two files are downloaded, JSON and tensors, and nothing in them is run. ``agent.json`` names a CLIP, a proposer and
initial boxes. An agent from the hub may name only built-in and published ones, never a file, a repository or a
``package.module:factory``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vg_gym import registry
from vg_gym.config import options_from
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError, one_line

HUB = "hub:"
"""Prefix of the names of agents on the hub."""
ABOUT, WEIGHTS = "agent.json", "policy.safetensors"
"""Names of the files of an agent."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
"""Pattern of ``ORG/NAME``."""
PLACES = ("full", "center", "random", "jitter")
"""Names of initial boxes that do not come from a grounder."""
CLIP = re.compile(r"(?!hf-hub:|local-dir:)[\w.-]+(:[\w.-]+)?")
"""Pattern of a built-in or published CLIP (``refshapes``, ``ViT-B-32:openai``); paths and repositories do not match."""
MAX_WIDTH = 4096
"""Largest width of a network that is built according to a stranger's file."""


def check_repository(name: str) -> str:
    """Return the name of a repository on the hub unchanged.

    Raises:
        VGGymError: the name is not ``ORG/NAME``.

    >>> check_repository("someone/agent")
    'someone/agent'
    """
    if not REPOSITORY.fullmatch(name):
        raise VGGymError(f"{name!r} does not name a repository of the hub: write ORG/NAME")
    return name


def fetch_agent(repository: str, revision: str | None = None) -> Path:
    """Return the folder of an agent on the hub, which is downloaded once; its files are not read.

    Args:
        repository: ``ORG/NAME``.
        revision: commit, tag or branch; default: the main branch.

    Raises:
        VGGymError: the hub cannot be reached, or lacks the agent.
    """
    import huggingface_hub

    check_repository(repository)
    try:
        folder = Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=[ABOUT, WEIGHTS]))
    except (OSError, ValueError) as error:
        at = f" at {revision}" if revision else ""
        raise VGGymError(
            f"no agent {repository!r}{at} from the hub: {one_line(error)}. "
            "Without hub access give a run folder: agent:RUN"
        ) from error
    for name in (ABOUT, WEIGHTS):
        if not (folder / name).is_file():
            raise VGGymError(f"{repository} on the hub is not an agent of vg_gym: it lacks {name}")
    return folder


def check_portable(about: dict[str, Any], name: str) -> None:
    """Raise an error for an agent that others cannot load, or that would load code or files of its maker's choice.

    Args:
        about: ``agent.json`` of the agent, as :func:`vg_gym.agents.checkpoint.read_about` returns it.
        name: name of the agent, for errors.

    Raises:
        VGGymError: a value is out of range, or is neither built in nor published.
    """
    env = about["env"]
    if type(about.get("width")) is not int or not 1 <= about["width"] <= MAX_WIDTH:
        raise VGGymError(f"{ABOUT} of {name} has width {about.get('width')!r}; it must be between 1 and {MAX_WIDTH}")
    options = options_from(EnvOptions, env)
    boxes = [part.strip() for part in options.initial_box.split(",")]
    allowed = {*PLACES, *registry.GROUNDERS}
    foreign = {
        "clip": "" if CLIP.fullmatch(about["clip"]) else about["clip"],
        "proposals": "" if options.proposals in ("", *registry.PROPOSERS) else options.proposals,
        "initial_box": ", ".join(part for part in boxes if part not in allowed),
        "features": options.features,
    }
    for key, value in foreign.items():
        if value:
            raise VGGymError(
                f"{name} names {key}={value}, which is neither built in nor published: a shared agent must not name a "
                "file, a repository or a module"
            )
