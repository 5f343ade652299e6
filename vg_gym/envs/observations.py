"""Observations of all rows at once: a flat Dict of vectors, because SB3 takes arrays with more axes for images.

The main part is the glimpses of the score maps (:mod:`vg_gym.features.glimpses`), which move with the box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from vg_gym.clip.crops import crop, resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.envs.actions import ActionSet
from vg_gym.envs.answers import WORDS
from vg_gym.envs.closer_looks import VALUES
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError, unknown
from vg_gym.features import edge_profiles
from vg_gym.features.glimpses import FEATURE_GLIMPSE, GLIMPSE, MAX_MAP_SCORE, WINDOWS
from vg_gym.features.query_proposals import MAX_OFFSET, WIDTH
from vg_gym.runtime.lazy_imports import torch

OBSERVATIONS = ("features", "pixels")
PRECISIONS = ("float32", "float16")
VIEW_SIDE = 84
"""Side of the images of ``observation="pixels"`` in pixels."""
HISTORY = 3
"""Number of actions in the history."""


def observation_space(options: EnvOptions, clip: ClipEncoder, maps: int, actions: ActionSet) -> spaces.Dict:
    """Return the Dict space of one environment.

    Args:
        options: options that select the parts and their precision.
        clip: encoder, for the width of features and the number of tokens.
        maps: number of score maps per query, M.
        actions: action set, for the length of an encoded action.

    Raises:
        VGGymError: the observation or precision is unknown, or features of proposals are asked for without proposals.
    """
    if options.observation not in OBSERVATIONS:
        raise unknown("observation", options.observation, OBSERVATIONS)
    if options.precision not in PRECISIONS:
        raise unknown("precision", options.precision, PRECISIONS)
    windows = len(WINDOWS) + 1

    def box(low: float, high: float, *shape: int) -> spaces.Box:
        return spaces.Box(low, high, shape, np.dtype(options.precision).type)

    parts: dict[str, spaces.Space] = {
        "box": box(0, 1, 8),
        "glimpses": box(-1.01 * MAX_MAP_SCORE, 1.01 * MAX_MAP_SCORE, windows * (maps + 1) * GLIMPSE**2),
        "history": box(-1, 1, HISTORY * actions.encoding),
        "image": box(-1, 1, clip.dim),
        "region": box(-1, 1, clip.dim),
        "score": box(-4, 4, 2),
        "step": box(0, 1, 1),
        "text": box(-1, 1, clip.dim),
    }
    if options.needs_tokens:
        parts["tokens"] = box(-1, 1, clip.num_tokens * clip.dim)
    if options.proposal_features:
        parts["words"] = box(-1, 1, clip.num_tokens * clip.dim)
    if options.glimpse_features:
        parts["glimpse_features"] = box(-1, 1, windows * FEATURE_GLIMPSE**2 * clip.dim)
    if options.proposals:
        width = WIDTH + (options.targets == "any")
        parts["proposals"] = box(-MAX_OFFSET, MAX_OFFSET, options.num_proposals * width)
    if options.proposal_features:
        if not options.proposals:
            raise VGGymError("proposal_features=true needs proposals, e.g. proposals=ssd")
        parts["proposal_features"] = box(-1, 1, options.num_proposals * clip.dim)
    if options.edge_profiles:
        parts["edge_profiles"] = box(0, edge_profiles.SCALE, 4 * edge_profiles.SLICES)
    if options.targets == "any":
        parts["answer"] = box(0, 1, WORDS + (options.num_proposals if options.proposals else 0))
    if options.zoom:
        parts["view"] = box(0, 1, VALUES)
    if options.observation == "pixels":
        for name in ("pixels_image", "pixels_crop"):
            parts[name] = spaces.Box(0, 255, (VIEW_SIDE, VIEW_SIDE, 3), np.uint8)
    return spaces.Dict(parts)


def pixel_views(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image, and its crop inside a pixel box, both uint8 (84, 84, 3)."""
    return resize(image, VIEW_SIDE), resize(crop(image, box), VIEW_SIDE)


def empty_observations(space: spaces.Dict, count: int, device: torch.device | None) -> dict[str, Any]:
    """Return uninitialised observations: arrays, or tensors on a device, each of shape (count, ...)."""
    shapes = {name: (count, *(part.shape or ())) for name, part in space.items()}
    if device is None:
        return {name: np.empty(shape, space[name].dtype) for name, shape in shapes.items()}
    dtypes = {name: getattr(torch, np.dtype(part.dtype).name) for name, part in space.items()}
    return {name: torch.empty(shape, dtype=dtypes[name], device=device) for name, shape in shapes.items()}
