"""Where an episode's box starts: fixed, random, near the target, where a grounder says, or a mixture of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.envs.episodes import Episodes
from vg_gym.files import cache_folder, fingerprint, replacing
from vg_gym.types import Grounder, Query, VGGymError

if TYPE_CHECKING:
    from vg_gym.envs.engine import GroundingEngine

Generators = Sequence[np.random.Generator] | Mapping[int, np.random.Generator]


class Start(Protocol):
    """Chooses the first boxes of episodes."""

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        """Normalised boxes (len(rows), 4) of some rows; each row draws from its own generator."""
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

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        return np.tile(self.box, (len(rows), 1))

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Nothing to do."""


class _Random(_Fixed):
    """Sides uniform in [0.1, 1], place uniform."""

    def __init__(self) -> None:
        super().__init__(box_ops.FULL)

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        draws = np.stack([rngs[row].random(4) for row in rows]).astype(np.float32)
        side = 0.1 + 0.9 * draws[:, :2]
        low = draws[:, 2:] * (1 - side)
        return np.concatenate([low, low + side], axis=1)


class _Jitter(_Random):
    """The target, every edge moved by a normal 0.3 of its side."""

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        draws = np.stack([rngs[row].normal(0, 0.3, 4) for row in rows]).astype(np.float32)
        target = engine.targets[rows]
        side = target[:, 2:] - target[:, :2]
        return target + draws * np.concatenate([side, side], axis=1)


class _Mixture:
    """Each episode draws one of several starts, all equally likely."""

    def __init__(self, starts: Sequence[Start]):
        self.starts = starts

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        chosen = np.array([int(rngs[row].integers(len(self.starts))) for row in rows])
        boxes = np.zeros((len(rows), 4), dtype=np.float32)
        for number in np.unique(chosen):
            mine = chosen == number
            boxes[mine] = self.starts[number](rows[mine], engine, rngs)
        return boxes

    def prepare(self, queries: Sequence[Query], cache: bool = False, progress: bool = False) -> None:
        """Prepare all."""
        for start in self.starts:
            start.prepare(queries, cache, progress)


class _GrounderStart:
    """A grounder's boxes, asked for once per query and kept."""

    def __init__(self, grounder: Grounder):
        self.grounder, self._known = grounder, {}  # type: tuple[Grounder, dict[str, np.ndarray]]

    def __call__(self, rows: np.ndarray, engine: GroundingEngine, rngs: Generators) -> np.ndarray:
        queries = [query for query in (engine.queries[row] for row in rows) if query is not None]
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
