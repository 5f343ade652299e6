"""Labels that each part of a method has seen in training: captions, boxes of classes, boxes of expressions.

A part is the method itself, its CLIP, its detector, or the source of its initial boxes. A method is label-free if none
of its parts has seen an expression with its box.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vg_gym.registry import grounder_spec, proposer_spec
from vg_gym.registry.tables import BUILT_IN_CLIP_SEEN, CAPTION_CLIPS, CAPTIONS
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import find_place
from vg_gym.types import Grounder, SaysSeen

OWN_METHOD = "unknown (own method)"
"""Value for a method that does not declare it."""
OWN_WEIGHTS = "unknown (own weights)"
"""Value for weights in a file or folder of the user."""
ANSWER = {"method": "the answer"}
"""Value for ceilings, which see the true box."""
RECORDED = {"method": "unknown (recorded answers)"}
"""Value for answers from a file."""

Seen = dict[str, str]
"""Name of a part (``method``, ``CLIP``, ``detector``, ``initial boxes``) -> what it has seen."""


def seen_by(name: str, options: Mapping[str, Any], clip: str = "refshapes", grounder: Grounder | None = None) -> Seen:
    """Return what the parts of a grounder have seen.

    Args:
        name: name of the grounder.
        options: options with which it is built.
        clip: name of its CLIP, if it takes one.
        grounder: the grounder itself, if it is built. Its own declaration comes first.

    >>> seen_by("yolo-clip", {}, "ViT-B-32:openai")
    {'method': 'nothing', 'CLIP': 'captions', 'detector': 'boxes of classes'}
    """
    if isinstance(grounder, SaysSeen):
        return grounder.seen
    spec = grounder_spec(name)
    weights = "" if spec.proposer else str(options.get("weights", ""))
    seen_by_part = {"method": OWN_WEIGHTS if find_place(weights) else spec.seen or OWN_METHOD, **spec.stands_on}
    if spec.takes_clip:
        named = options.get("clip", clip if clip != "none" else spec.options.get("clip", "refshapes"))
        seen_by_part["CLIP"] = seen_by_clip(str(named))
    if spec.proposer:
        seen_by_part["detector"] = seen_by_proposer(spec.proposer, str(options.get("weights", "")))
    return seen_by_part


def seen_by_clip(name: str) -> str:
    """Return what a CLIP, or several joined by ``+``, has seen.

    >>> seen_by_clip("refshapes"), seen_by_clip("ViT-B-32:openai")
    ('boxes of expressions', 'captions')
    """
    return " and ".join(dict.fromkeys(_seen_by_one_clip(part) for part in name.split("+")))


def _seen_by_one_clip(name: str) -> str:
    if built_in("clip", name) is not None:
        return CAPTIONS if name in CAPTION_CLIPS else BUILT_IN_CLIP_SEEN
    return OWN_WEIGHTS if find_place(name) or find_place(name.partition(":")[2]) else CAPTIONS


def seen_by_proposer(name: str, weights: str = "") -> str:
    """Return what a first stage has seen; ``weights`` are given if they are not the default."""
    return OWN_WEIGHTS if find_place(weights) else proposer_spec(name).seen or OWN_METHOD


def seen_text(seen: Mapping[str, str]) -> str:
    """Return one line about what all parts have seen.

    >>> seen_text({"method": "nothing", "CLIP": "captions"})
    'method: nothing; CLIP: captions'
    """
    return "; ".join(f"{part}: {what}" for part, what in seen.items())
