"""Default weights by data: those of its world for drawn data, published ones for photographs.

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
"""Built-in CLIP of lists of samples, which was trained on drawn shapes."""
WORLD_CLIPS = {"refshapes": DRAWN_CLIP, "refscenes": "refscenes-regions"}
"""World -> its default built-in CLIP."""
PUBLISHED_CLIP = "ViT-B-32:openai"
"""Default CLIP for photographs; its weights are downloaded."""
WORLDS = "vg_gym.data.worlds."
"""Beginning of the factories of built-in data sets."""


def world_of(dataset: str) -> str:
    """Return the world of a built-in data set, and an empty text for photographs.

    >>> world_of("refshapes-hard"), world_of("refscenes-any"), world_of("refcocog-umd"), world_of("mine.jsonl")
    ('refshapes', 'refscenes', '', '')
    """
    return DATASETS[dataset].world if dataset in DATASETS else ""


def is_drawn(dataset: str) -> bool:
    """Return whether a data set is one of the built-in, drawn ones.

    >>> is_drawn("refshapes-hard"), is_drawn("refscenes"), is_drawn("refcocog-umd"), is_drawn("mine.jsonl")
    (True, True, False, False)
    """
    return bool(world_of(dataset))


def clip_for(dataset: str) -> str:
    """Return the default CLIP for a data set.

    >>> clip_for("refshapes"), clip_for("refscenes"), clip_for("mine.jsonl")
    ('refshapes', 'refscenes-regions', 'ViT-B-32:openai')
    """
    return WORLD_CLIPS.get(world_of(dataset), PUBLISHED_CLIP)


def world_of_weights(name: str) -> str:
    """Return the world that built-in weights were trained on.

    >>> world_of_weights("refscenes-captions"), world_of_weights("refiner")
    ('refscenes', 'refshapes')
    """
    return "refscenes" if name.startswith("refscenes") else "refshapes"


def drawn_clips(name: str, dataset: str = "") -> list[str]:
    """Return the built-in ones of a CLIP, or of several joined by ``+``, as ``clip NAME``.

    Args:
        name: name of the CLIP.
        dataset: data set whose own CLIPs are left out.

    >>> drawn_clips("refshapes+ViT-B-32:openai"), drawn_clips("refshapes", "refshapes-any"), drawn_clips("none")
    (['clip refshapes'], [], [])
    """
    world = world_of(dataset)
    return [f"clip {part}" for part in name.split("+") if built_in("clip", part) and world_of_weights(part) != world]


def weights_for(name: str, options: Mapping[str, Any], world: str) -> dict[str, Any]:
    """Return the options of a grounder with the default weights of a world unless the user names weights.

    Args:
        name: name of the grounder.
        options: options of the user.
        world: see :func:`world_of`; empty for photographs.

    >>> weights_for("mdetr", {}, "refscenes"), weights_for("ssd-clip", {}, "refscenes"), weights_for("full", {}, "")
    ({'weights': 'refscenes'}, {}, {})
    """
    if not world:
        return weights_for_photographs(name, options)
    spec = grounder_spec(name)
    own = "weights" in options or name != grounder_key(name) or spec.takes_clip or not spec.weights
    return dict(options) if own else {**options, "weights": world}


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


def knows_drawn_only(name: str, clip: str, options: Mapping[str, Any], dataset: str = "") -> bool:
    """Return whether a grounder answers with built-in weights, which know drawn pictures only.

    Args:
        name: name of the grounder.
        clip: name of its CLIP, if it takes one.
        options: options with which it is built.
        dataset: data set whose own weights do not count; by default all weights count.

    >>> knows_drawn_only("clip-window", "refshapes", {}), knows_drawn_only("center", "refshapes", {})
    (True, False)
    >>> knows_drawn_only("agent:refshapes", "ViT-B-32:openai", {}), knows_drawn_only("mdetr", "", {"weights": "a.pth"})
    (True, False)
    """
    spec, key, world = grounder_spec(name), grounder_key(name), world_of(dataset)
    if spec.takes_clip:
        return bool(drawn_clips(str(options.get("clip", clip)), dataset))
    argument = name.partition(":")[2]
    if key == "agent":
        return built_in("agent", argument) is not None and "clip" not in options and world_of_weights(argument) != world
    weights = str(options.get("weights", argument or world or DRAWN_CLIP))
    is_built_in = bool(spec.weights) and built_in(spec.proposer or key, weights) is not None
    return is_built_in and world_of_weights(weights) != world
