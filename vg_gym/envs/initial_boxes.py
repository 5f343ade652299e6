"""Where an episode's box starts: fixed, random, near the target, where a grounder says, or a mixture of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.boxes import to_numpy
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.rng import Streams
from vg_gym.errors import VGGymError
from vg_gym.storage.files import cache_folder, fingerprint, replacing
from vg_gym.types import Grounder, Query

if TYPE_CHECKING:
    from vg_gym.envs.engine import GroundingEngine


class Start(Protocol):
    """Chooses the first boxes of episodes."""

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        """Normalised boxes (len(rows), 4) of some rows, an array or a tensor; each row draws from its own stream."""
        ...

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Compute what can be computed ahead of time."""
        ...


def make_start(name: str, episodes: Episodes, clip: str) -> Start:
    """The start called ``name``: ``full``, ``center``, ``random``, ``jitter``, a grounder's name, or several of these.

    Args:
        name: one of them, or several with commas between: each episode draws one.
        episodes: what is played.
        clip: name of the environment's CLIP, for grounders that take one.

    Raises:
        VGGymError: ``jitter`` on bare queries, or an unknown grounder.
    """
    names = [part.strip() for part in name.split(",") if part.strip()]
    if len(names) != 1:
        return _Mixture([make_start(part, episodes, clip) for part in names])
    if name in FIXED:
        return _Fixed(FIXED[name])
    if name == "random":
        return _Random()
    if name == "jitter":
        if not episodes.labelled:
            raise VGGymError("initial_box='jitter' starts near the target, and bare queries have none; use 'full'")
        return _Jitter()
    return _GrounderStart(registry.grounder_with_clip(name, clip))


FIXED = {"full": box_ops.FULL, "center": np.array([0.25, 0.25, 0.75, 0.75], dtype=np.float32)}


class _Fixed:
    """The same box always."""

    def __init__(self, box: np.ndarray):
        self.box = box

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        return np.tile(self.box, (len(rows), 1))

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Nothing to do."""


class _Random(_Fixed):
    """Sides uniform in [0.1, 1], place uniform."""

    def __init__(self) -> None:
        super().__init__(box_ops.FULL)

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        draws = streams.uniform(rows, 4)
        side = 0.1 + 0.9 * draws[:, :2]
        low = draws[:, 2:] * (1 - side)
        return box_ops.namespace(draws).concatenate([low, low + side], axis=1)


class _Jitter(_Random):
    """The target, every edge moved by a normal 0.3 of its side."""

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        target = engine.targets[rows]
        side = target[:, 2:] - target[:, :2]
        edges = box_ops.namespace(side).concatenate([side, side], axis=1)
        return target + 0.3 * streams.normal(rows, 4) * edges


class _Mixture:
    """Each episode draws one of several starts, all equally likely."""

    def __init__(self, starts: Sequence[Start]):
        self.starts = starts

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        chosen = to_numpy(streams.integers(rows, len(self.starts)))
        boxes = np.zeros((len(rows), 4), dtype=np.float32)
        for number in np.unique(chosen):
            mine = chosen == number
            boxes[mine] = to_numpy(self.starts[number](rows[mine], engine, streams))
        return boxes

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Prepare all."""
        for start in self.starts:
            start.prepare(queries, cache, progress)


class _GrounderStart:
    """A grounder's boxes, asked for once per query and kept: by query, and in a column by episode."""

    def __init__(self, grounder: Grounder):
        self.grounder = grounder
        self._known: dict[str, np.ndarray] = {}
        self._column = np.zeros((0, 4), dtype=np.float32)

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, streams: Streams) -> Any:
        indices = engine.index[rows]
        if indices.max() >= len(self._column):
            more = np.full((len(engine.catalog.rows) - len(self._column), 4), np.nan, dtype=np.float32)
            self._column = np.concatenate([self._column, more])
        new = np.unique(indices[np.isnan(self._column[indices, 0])])
        if len(new):
            self._column[new] = self._look_up([engine.catalog.query(int(index)) for index in new])
        return self._column[indices]

    def _look_up(self, queries: Sequence[Query]) -> np.ndarray:
        missing = {_identity(q): q for q in queries if _identity(q) not in self._known}
        if missing:
            self._known.update(zip(missing, _ask(self.grounder, list(missing.values())), strict=True))
        return np.stack([self._known[_identity(q)] for q in queries])

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Ask for the boxes of all queries, a few hundred at a time."""
        boxes = grounder_boxes(self.grounder, queries, cache, progress)
        self._known.update(zip((_identity(q) for q in queries), boxes, strict=True))


def grounder_boxes(
    grounder: Grounder, queries: Sequence[Query], cache: bool = False, progress: bool = False, chunk: int = 256
) -> np.ndarray:
    """A grounder's normalised boxes (N, 4) of queries, from the cache folder where they are there.

    Args:
        grounder: cached only if it has a ``fingerprint``, a hash of its weights and settings.
        queries: what to ground; files are keyed by their images, expressions and the fingerprint.
        cache: keep the boxes for the next run, chunk by chunk, so that an interrupted one goes on where it stopped.
        progress: show a progress bar.
        chunk: queries per call and per file.
    """
    mark = getattr(grounder, "fingerprint", None) if cache else None
    parts = []
    bar = tqdm(total=len(queries), desc=f"{grounder.name} boxes", unit="query", disable=not progress, mininterval=2)
    for at in range(0, len(queries), chunk):
        batch = queries[at : at + chunk]
        if mark is None:
            parts.append(_ask(grounder, batch))
        else:
            name = fingerprint(mark, [_identity(q) for q in batch])[:24]
            parts.append(_stored(cache_folder() / "boxes" / f"{name}.npy", grounder, batch))
        bar.update(len(batch))
    bar.close()
    return np.concatenate(parts)


def _stored(path: Path, grounder: Grounder, queries: Sequence[Query]) -> np.ndarray:
    if path.is_file():
        return np.load(path, allow_pickle=False)
    boxes = _ask(grounder, queries)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        np.save(file, boxes)
    return boxes


def _ask(grounder: Grounder, queries: Sequence[Query]) -> np.ndarray:
    predictions = grounder.ground(queries)
    return np.stack([box_ops.normalize(p.box, q.image.size) for q, p in zip(queries, predictions, strict=True)]).astype(
        np.float32
    )


def _identity(query: Query) -> str:
    return f"{query.image.key}\n{query.expression}"
