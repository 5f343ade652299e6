"""Agents from the Hugging Face hub: ``agent:hub:ORG/NAME``.

Two files are fetched, JSON and tensors, and nothing in them is run. ``agent.json`` names a CLIP, a proposer and first
boxes; an agent from the hub may name built-in and published ones only, never a file, a repository or a
``package.module:factory``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vg_gym import registry
from vg_gym.config import options_from
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError

HUB = "hub:"
"""Begin of the names of agents on the hub."""
ABOUT, WEIGHTS = "agent.json", "policy.safetensors"
"""The files of an agent."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
"""``ORG/NAME``."""
PLACES = ("full", "center", "random", "jitter")
"""First boxes that are no grounder's."""
CLIP = re.compile(r"(?!hf-hub:|local-dir:)[\w.-]+(:[\w.-]+)?")
"""``refshapes``, ``ViT-B-32:openai``: a built-in CLIP or a published one, no path and no repository."""
MAX_WIDTH = 4096
"""Of a network that is built because a stranger's file says so."""


def check_repository(name: str) -> str:
    """The name of a repository on the hub, as it is.

    Raises:
        VGGymError: it is not ``ORG/NAME``.

    >>> check_repository("someone/agent")
    'someone/agent'
    """
    if not REPOSITORY.fullmatch(name):
        raise VGGymError(f"{name!r} is no repository of the hub: write ORG/NAME")
    return name


def fetch_agent(repository: str, revision: str | None = None) -> Path:
    """The folder of an agent on the hub, fetched once; its files are not looked at.

    Args:
        repository: ``ORG/NAME``.
        revision: commit, tag or branch; default: the main one.

    Raises:
        VGGymError: the hub cannot be reached, or has no such agent.
    """
    import huggingface_hub

    check_repository(repository)
    try:
        found = Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=[ABOUT, WEIGHTS]))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        at = f" at {revision}" if revision else ""
        raise VGGymError(
            f"no agent {repository!r}{at} from the hub: {reason}. Without hub access give a run folder: agent:RUN"
        ) from error
    for name in (ABOUT, WEIGHTS):
        if not (found / name).is_file():
            raise VGGymError(f"{repository} on the hub is no agent of vg_gym: it has no {name}")
    return found


def check_portable(about: dict[str, Any], name: str) -> None:
    """Refuse an agent that others cannot load, or that would load what its maker chose.

    Args:
        about: its ``agent.json``, as :func:`vg_gym.agents.checkpoint.read_about` gives it.
        name: of the agent, for errors.

    Raises:
        VGGymError: something is out of its range, or neither built in nor published.
    """
    env = about["env"]
    if type(about.get("width")) is not int or not 1 <= about["width"] <= MAX_WIDTH:
        raise VGGymError(f"{ABOUT} of {name} has width {about.get('width')!r}; it must be between 1 and {MAX_WIDTH}")
    options = options_from(EnvOptions, env)
    boxes = [part.strip() for part in options.initial_box.split(",")]
    known = {*PLACES, *registry.GROUNDERS}
    strange = {
        "clip": "" if CLIP.fullmatch(about["clip"]) else about["clip"],
        "proposals": "" if options.proposals in ("", *registry.PROPOSERS) else options.proposals,
        "initial_box": ", ".join(part for part in boxes if part not in known),
        "features": options.features,
    }
    for key, value in strange.items():
        if value:
            raise VGGymError(
                f"{name} names {key}={value}, which is neither built in nor published: a shared agent names no "
                "file, no repository and no module"
            )
