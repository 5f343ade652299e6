"""What an agent and the parts below it have seen of the truth, from what ``agent.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vg_gym.agents.hub import PLACES
from vg_gym.registry import is_grounder
from vg_gym.registry.seen import Seen, seen_by, seen_by_clip, seen_by_proposer
from vg_gym.registry.tables import EXPRESSION_BOXES

NO_BOXES = "expressions without boxes"
"""Of an agent that learned from CLIP's reward alone."""
UNTOLD = "unknown (agent.json does not say)"
"""Of an agent trained with CLIP's reward before ``agent.json`` said whether it cloned labels."""


def seen_in_training(reward: str, initial_box: str, cloned: bool, before: str = NO_BOXES) -> str:
    """What an agent has seen.

    Args:
        reward: of its training.
        initial_box: of its training; ``jitter`` starts near the target.
        cloned: whether it imitated the oracle.
        before: what the agent had seen from which it started.
    """
    labels = reward != "clip" or "jitter" in initial_box or cloned
    return EXPRESSION_BOXES if labels else before


def method_seen(about: Mapping[str, Any]) -> str:
    """What an agent itself has seen, by its ``agent.json``."""
    env = about["env"]
    untold = seen_in_training(env.get("reward", "iou"), env.get("initial_box", "full"), cloned=False, before=UNTOLD)
    return str(about.get("seen", untold))


def seen_by_agent(about: Mapping[str, Any], clip: str, proposals: str, initial_box: str) -> Seen:
    """What an agent and the parts below it have seen.

    Args:
        about: its ``agent.json``.
        clip: name of its CLIP.
        proposals: its proposer, ``NAME`` or ``NAME:WEIGHTS``; empty: none.
        initial_box: where it starts.
    """
    seen = {"method": method_seen(about), "CLIP": seen_by_clip(clip)}
    if proposals:
        name, _, weights = proposals.partition(":")
        seen["detector"] = seen_by_proposer(name, weights)
    if initial_box not in PLACES and is_grounder(initial_box):
        seen["first boxes"] = " and ".join(dict.fromkeys(seen_by(initial_box, {}, clip).values()))
    return seen


def first_blind(initial_boxes: str) -> str:
    """Of several sources of first boxes, the first that needs no label: where an agent trained on all of them starts.

    >>> first_blind("jitter,yolo-clip,detr-clip"), first_blind("center"), first_blind("jitter")
    ('yolo-clip', 'center', 'full')
    """
    names = [name.strip() for name in initial_boxes.split(",")]
    return next((name for name in names if name and name != "jitter"), "full")
