"""Kinds of annotation that an agent and its parts have seen, according to ``agent.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vg_gym.agents.publishing.hub import PLACES
from vg_gym.registry import is_grounder
from vg_gym.registry.seen import Seen, seen_by, seen_by_clip, seen_by_proposer
from vg_gym.registry.tables import EXPRESSION_BOXES

NO_BOXES = "expressions without boxes"
"""Value for an agent that learned from CLIP's reward alone."""
UNRECORDED = "unknown (agent.json does not say)"
"""Value for an agent with CLIP's reward whose ``agent.json`` predates the record of cloned labels."""


def seen_in_training(reward: str, initial_box: str, cloned: bool, before: str = NO_BOXES) -> str:
    """Return the kind of annotation that an agent has seen.

    Args:
        reward: reward of its training.
        initial_box: initial boxes of its training; ``jitter`` starts near the target.
        cloned: whether it imitated the oracle.
        before: kind of annotation that the agent from which it started had seen.
    """
    labels = reward != "clip" or "jitter" in initial_box or cloned
    return EXPRESSION_BOXES if labels else before


def method_seen(about: Mapping[str, Any]) -> str:
    """Return the kind of annotation that an agent itself has seen, according to its ``agent.json``."""
    env = about["env"]
    default = seen_in_training(
        env.get("reward", "iou"), env.get("initial_box", "full"), cloned=False, before=UNRECORDED
    )
    return str(about.get("seen", default))


def seen_by_agent(about: Mapping[str, Any], clip: str, proposals: str, initial_box: str) -> Seen:
    """Return the kinds of annotation that an agent and its parts have seen.

    Args:
        about: ``agent.json`` of the agent.
        clip: name of its CLIP.
        proposals: proposer, ``NAME`` or ``NAME:WEIGHTS``; may be empty.
        initial_box: source of its initial boxes.
    """
    kinds = {"method": method_seen(about), "CLIP": seen_by_clip(clip)}
    if proposals:
        name, _, weights = proposals.partition(":")
        kinds["detector"] = seen_by_proposer(name, weights)
    if initial_box not in PLACES and is_grounder(initial_box):
        kinds["initial boxes"] = " and ".join(dict.fromkeys(seen_by(initial_box, {}, clip).values()))
    return kinds


def first_blind(initial_boxes: str) -> str:
    """Return the first of several sources of initial boxes that needs no label; a mixture starts there at test time.

    >>> first_blind("jitter,yolo-clip,detr-clip"), first_blind("center"), first_blind("jitter")
    ('yolo-clip', 'center', 'full')
    """
    names = [name.strip() for name in initial_boxes.split(",")]
    return next((name for name in names if name and name != "jitter"), "full")
