"""Factory of the engine: opens the data set, loads the CLIP and applies the options of an environment."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from vg_gym import registry
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.known_words import warn_of_dataset
from vg_gym.clip.loader import load_clip
from vg_gym.config import options_from
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import DatasetNotFound, VGGymError
from vg_gym.features.bank import FeatureBank
from vg_gym.registry.photographs import DRAWN_CLIP, clip_for, drawn_clips, is_drawn
from vg_gym.types import GroundingDataset, Query, Sample

Source = GroundingDataset | Sequence[Sample] | Sequence[Query]


def make_engine(
    num_envs: int,
    dataset: str | Source = "refshapes",
    split: str = "train",
    root: str | None = None,
    clip: str | ClipEncoder | None = None,
    device: str = "cpu",
    fallback: str | None = None,
    dataset_options: Mapping[str, Any] | None = None,
    bank: FeatureBank | None = None,
    tensors: bool | None = None,
    **options: Any,
) -> GroundingEngine:
    """Open the data, load the CLIP and build an engine.

    Args:
        num_envs: number of parallel episodes.
        dataset: name of a data set, or a list of samples, or a list of queries.
        split: split of a named data set.
        root: folder of a named data set that is on disk.
        clip: name of a CLIP, or an encoder; default: ``refshapes`` for RefShapes and lists, ``refscenes-regions``
            for RefScenes, by name or opened, ``ViT-B-32:openai`` for other names
            (:mod:`vg_gym.registry.photographs`).
        device: torch device of the CLIP and of its features.
        fallback: data set that replaces ``dataset`` if it is not on this machine and ``root`` is None.
        dataset_options: options of the data set.
        bank: features to share between engines.
        tensors: whether state and observations are tensors; default: True unless ``device`` is a CPU.
        **options: fields of :class:`~vg_gym.envs.options.EnvOptions`.

    Raises:
        VGGymError: an option, data set or CLIP is unknown, or files are missing.
    """
    _check_types(dataset, clip, {"split": split, "device": device})
    source: Any = dataset
    if isinstance(dataset, str):
        source, dataset = _open(dataset, split, root, fallback, dict(dataset_options or {}))
    named = dataset if isinstance(dataset, str) else _name_of_built_in(source)
    if clip is None:
        clip = clip_for(named) if named else DRAWN_CLIP
    encoder = load_clip(clip, device) if isinstance(clip, str) else clip
    named = named or "the list"
    warn_of_dataset(drawn_clips(encoder.name, named), named, source)
    env_options = options_from(EnvOptions, options)
    return GroundingEngine(Episodes(source, env_options.targets), encoder, num_envs, env_options, bank, tensors)


def _name_of_built_in(source: Any) -> str:
    """Return the name of a split of a built-in data set that was opened, and an empty text for other objects."""
    name = getattr(source, "name", "")
    return name if isinstance(name, str) and is_drawn(name) else ""


def _check_types(dataset: Any, clip: Any, texts: Mapping[str, Any]) -> None:
    """Raise an error if an argument is neither a name nor an object of the right type."""
    for name, value in texts.items():
        if not isinstance(value, str):
            raise VGGymError(f"option {name!r} is {value!r:.100}; it must be a name")
    if not isinstance(clip, (str, ClipEncoder, type(None))):
        raise VGGymError(f"option 'clip' is {clip!r:.100}; it must be the name of a CLIP, or a ClipEncoder")
    if isinstance(dataset, str):
        return
    listed = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not isinstance(dataset, Mapping)
    if not listed or (len(dataset) and not isinstance(dataset[0], (Query, Sample))):
        raise VGGymError(
            f"option 'dataset' is {dataset!r:.100}; it must be the name of a data set, or a list of samples or queries"
        )


def _open(
    name: str, split: str, root: str | None, fallback: str | None, options: dict[str, Any]
) -> tuple[GroundingDataset, str]:
    """Open a data set, or warn and open the fallback if it is not on this machine and no root is given.

    Returns:
        the data set and its name.
    """
    try:
        return registry.open_dataset(name, split, root, **options), name
    except DatasetNotFound as error:
        if fallback is None or root is not None:
            raise
        warnings.warn(
            f"{name} is not on this machine, so this environment runs on the built-in {fallback} ({error})",
            stacklevel=2,
        )
        return registry.open_dataset(fallback, split), fallback
