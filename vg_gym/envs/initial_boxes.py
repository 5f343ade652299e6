"""Initial boxes of episodes: fixed, random, near the target, from a grounder, or a mixture of these."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.boxes import to_numpy
from vg_gym.envs.episodes import Catalog
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.registry.identity import mark_of
from vg_gym.registry.photographs import weights_for, world_of_weights
from vg_gym.storage.assets import built_in
from vg_gym.storage.files import cache_place, fingerprint, go_on_without_cache, make_folder, replacing
from vg_gym.storage.npy import read_npy
from vg_gym.types import Fingerprinted, Grounder, Query, best_boxes

FIXED = {"full": box_ops.FULL, "center": np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32)}
"""Boxes that are equal in every episode, by name."""
JITTER = 0.3
"""Standard deviation of an edge around the edge of the target, in sides of the target."""


class InitialBoxes(Protocol):
    """Chooses the initial boxes of episodes."""

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        """Return the initial boxes of B episodes.

        Args:
            rows: rows of the engine that start (B,); each draws from its own stream.
            index: indices of their episodes in the catalog (B,).
            targets: normalised target boxes (B, 4), an array or a tensor; NaN without a target.
            rng: random numbers of all rows.

        Returns:
            Normalised boxes (B, 4), an array or a tensor.
        """
        ...

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute boxes ahead of time, see :func:`grounder_boxes`."""
        ...


def make_initial_boxes(name: str, catalog: Catalog) -> InitialBoxes:
    """Build the source of initial boxes that ``initial_box=`` names.

    Args:
        name: ``full``, ``center``, ``random``, ``jitter``, the name of a grounder, or a comma-separated list of these,
            of which each episode draws one. A grounder that takes a CLIP gets the CLIP of the catalog's bank.
        catalog: the episodes that are played.

    Raises:
        VGGymError: ``jitter`` is combined with bare queries, or the grounder is unknown.
    """
    names = [part.strip() for part in name.split(",") if part.strip()]
    if not names:
        raise VGGymError(f"initial_box={name!r} names no initial box: use 'full', 'center', 'random', or a grounder")
    if len(names) > 1:
        return _Mixture([make_initial_boxes(part, catalog) for part in names])
    if name in FIXED:
        return _Fixed(FIXED[name])
    if name == "random":
        return _Random()
    if name == "jitter":
        if not catalog.episodes.labeled:
            raise VGGymError("initial_box='jitter' starts near the target, which bare queries lack; use 'full'")
        return _Jitter()
    clip = catalog.bank.clip
    options = weights_for(name, {}, world_of_weights(clip.name) if built_in("clip", clip.name) else "")
    return _FromGrounder(registry.grounder_with_clip(name, clip.name, **options), catalog)


class _Unprepared:
    """Source of initial boxes without anything to compute ahead of time."""

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Do nothing."""


class _Fixed(_Unprepared):
    """Source that always returns the same box."""

    def __init__(self, box: np.ndarray):
        self.box = box

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        return np.tile(self.box, (len(rows), 1))


class _Random(_Unprepared):
    """Source of boxes with sides uniform in [0.1, 1] and uniform positions."""

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        draws = rng.uniform(rows, 4)
        side = 0.1 + 0.9 * draws[:, :2]
        low = draws[:, 2:] * (1 - side)
        return box_ops.namespace(draws).concatenate([low, low + side], axis=1)


class _Jitter(_Unprepared):
    """Source of targets whose edges are moved by normal noise of :data:`JITTER` times the side.

    An episode without a target starts near the whole image.
    """

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        xp = box_ops.namespace(targets)
        full = box_ops.FULL if xp is np else targets.new_tensor(box_ops.FULL)
        targets = xp.where(xp.isnan(targets), full, targets)
        side = targets[:, 2:] - targets[:, :2]
        edges = box_ops.namespace(side).concatenate([side, side], axis=1)
        return targets + JITTER * rng.normal(rows, 4) * edges


class _Mixture:
    """Source that draws one of several sources for each episode, all equally likely."""

    def __init__(self, sources: Sequence[InitialBoxes]):
        self.sources = sources

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        chosen = to_numpy(rng.integers(rows, len(self.sources)))
        boxes = np.zeros((len(rows), 4), dtype=np.float32)
        for number in np.unique(chosen):
            selected = chosen == number
            boxes[selected] = to_numpy(self.sources[number](rows[selected], index[selected], targets[selected], rng))
        return boxes

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Prepare all sources."""
        for source in self.sources:
            source.prepare(queries, cache, progress)


class _FromGrounder:
    """Boxes of a grounder, computed once per query and cached by query and in a column by episode."""

    def __init__(self, grounder: Grounder, catalog: Catalog):
        self.grounder, self.catalog = grounder, catalog
        self._known: dict[str, np.ndarray] = {}
        self._column = np.zeros((0, 4), dtype=np.float32)

    def __call__(self, rows: np.ndarray, index: np.ndarray, targets: Any, rng: CounterRNG) -> Any:
        if index.max() >= len(self._column):
            empty = np.full((len(self.catalog.rows) - len(self._column), 4), np.nan, dtype=np.float32)
            self._column = np.concatenate([self._column, empty])
        guests = index >= len(self.catalog.episodes)  # their places may have belonged to other guests before
        new = np.unique(index[guests | np.isnan(self._column[index, 0])])
        if len(new):
            self._column[new] = self._look_up([self.catalog.query(int(number)) for number in new])
        return self._column[index]

    def _look_up(self, queries: Sequence[Query]) -> np.ndarray:
        missing = {_identity(q): q for q in queries if _identity(q) not in self._known}
        if missing:
            self._known.update(zip(missing, _ask(self.grounder, list(missing.values())), strict=True))
        return np.stack([self._known[_identity(q)] for q in queries])

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute the boxes of all queries, a few hundred at a time."""
        boxes = grounder_boxes(self.grounder, queries, cache, progress)
        self._known.update(zip((_identity(q) for q in queries), boxes, strict=True))


def grounder_boxes(
    grounder: Grounder, queries: Sequence[Query], cache: bool = False, progress: bool = False, chunk: int = 256
) -> np.ndarray:
    """Return a grounder's normalised boxes (N, 4) of queries, from the cache folder if they are stored there.

    Args:
        grounder: grounder, whose boxes are cached only if it is :class:`~vg_gym.types.Fingerprinted`.
        queries: queries to ground; files are keyed by their images, expressions and all that the grounder depends on.
        cache: store the boxes for the next run, chunk by chunk, so that an interrupted run resumes where it stopped.
        progress: show a progress bar.
        chunk: number of queries per call and per file.
    """
    mark = mark_of(grounder) if cache and isinstance(grounder, Fingerprinted) else None
    parts = []
    bar = tqdm(total=len(queries), desc=f"{grounder.name} boxes", unit="query", disable=not progress, mininterval=2)
    for at in range(0, len(queries), chunk):
        batch = queries[at : at + chunk]
        if mark is None:
            parts.append(_ask(grounder, batch))
        else:
            name = fingerprint(mark, [_identity(q) for q in batch])[:24]
            parts.append(_stored(cache_place("boxes", f"{name}.npy"), grounder, batch))
        bar.update(len(batch))
    bar.close()
    return np.concatenate(parts)


def _stored(path: Path, grounder: Grounder, queries: Sequence[Query]) -> np.ndarray:
    if path.is_file():
        try:
            return read_npy(path)
        except (OSError, ValueError) as error:
            warnings.warn(f"the boxes in {path} cannot be read ({error}) and are computed again", stacklevel=4)
    boxes = _ask(grounder, queries)
    try:
        make_folder(path.parent)
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, boxes)
    except CannotWrite as error:
        go_on_without_cache(error)
    return boxes


def _ask(grounder: Grounder, queries: Sequence[Query]) -> np.ndarray:
    boxes = best_boxes(grounder.ground(queries), queries)
    return np.stack([box_ops.normalize(box, q.image.size) for q, box in zip(queries, boxes, strict=True)]).astype(
        np.float32
    )


def _identity(query: Query) -> str:
    return f"{query.image.key}\n{query.expression}"
