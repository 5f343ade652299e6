"""Default weights by data: built-in ones for drawn data, published ones for photographs.

Data that are not built in are taken for photographs. Commands and environments whose user names no CLIP and no weights
ask this module, so that all of them follow the same rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vg_gym.errors import VGGymError
from vg_gym.registry import DATASETS, grounder_key, grounder_spec, proposer_spec
from vg_gym.storage.assets import built_in

DRAWN_CLIP = "refshapes"
"""Built-in CLIP, which was trained on drawn shapes."""
PUBLISHED_CLIP = "ViT-B-32:openai"
"""Default CLIP for photographs; its weights are downloaded."""
WORLDS = "vg_gym.data.worlds."
"""Beginning of the factories of built-in data sets."""


def is_drawn(dataset: str) -> bool:
    """Return whether a data set is one of the built-in, drawn ones.

    >>> is_drawn("refshapes-hard"), is_drawn("refscenes"), is_drawn("refcocog-umd"), is_drawn("mine.jsonl")
    (True, True, False, False)
    """
    return dataset in DATASETS and DATASETS[dataset].factory.startswith(WORLDS)


def clip_for(dataset: str) -> str:
    """Return the default CLIP for a data set.

    >>> clip_for("refshapes"), clip_for("mine.jsonl")
    ('refshapes', 'ViT-B-32:openai')
    """
    return DRAWN_CLIP if is_drawn(dataset) else PUBLISHED_CLIP


def drawn_clips(name: str) -> list[str]:
    """Return the built-in ones of a CLIP, or of several joined by ``+``, as ``clip NAME``.

    >>> drawn_clips("refshapes+ViT-B-32:openai"), drawn_clips("none")
    (['clip refshapes'], [])
    """
    return [f"clip {part}" for part in name.split("+") if built_in("clip", part)]


def weights_for_photographs(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a grounder on photographs, with published weights unless the user names weights.

    A pipeline with a CLIP chooses its detector's weights by its CLIP, and an agent brings its own.

    Raises:
        VGGymError: the grounder has built-in weights only, which know drawn shapes.

    >>> weights_for_photographs("yolo-words", {}), weights_for_photographs("yolo-words", {"weights": "mine.pt"})
    ({'weights': 'yolov8x.pt'}, {'weights': 'mine.pt'})
    """
    spec, key = grounder_spec(name), grounder_key(name)
    if "weights" in options or name != key or spec.takes_clip or not spec.weights:
        return dict(options)
    published = proposer_spec(spec.proposer).published if spec.proposer else spec.published
    if not published:
        raise VGGymError(
            f"the built-in weights of {name} know drawn shapes only, and no others can be fetched: give {name}.weights="
            f"PATH, a folder that train_grounder.py wrote or a published checkpoint, or {name}.weights=refshapes"
        )
    return {**options, "weights": published}


def knows_drawn_only(name: str, clip: str, options: Mapping[str, Any]) -> bool:
    """Return whether a grounder answers with built-in weights, which know drawn shapes only.

    Args:
        name: name of the grounder.
        clip: name of its CLIP, if it takes one.
        options: options with which it is built.

    >>> knows_drawn_only("clip-window", "refshapes", {}), knows_drawn_only("center", "refshapes", {})
    (True, False)
    >>> knows_drawn_only("agent:refshapes", "ViT-B-32:openai", {}), knows_drawn_only("mdetr", "", {"weights": "a.pth"})
    (True, False)
    """
    spec, key = grounder_spec(name), grounder_key(name)
    if spec.takes_clip:
        return bool(drawn_clips(str(options.get("clip", clip))))
    if key == "agent":
        return built_in("agent", name.partition(":")[2]) is not None and "clip" not in options
    weights = options.get("weights", name.partition(":")[2] or DRAWN_CLIP)
    return bool(spec.weights) and built_in(spec.proposer or key, str(weights)) is not None
