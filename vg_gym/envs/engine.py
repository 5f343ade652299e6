"""The one engine behind both faces of the environment: N episodes side by side, in numpy.

State is a handful of arrays with one row per sub-environment. ``step`` has no loop over rows; ``reset_rows`` has one,
because episodes end one by one. Nothing here reads a target box unless the source has labels, and then only for the
``iou`` reward, for ``info`` and for starts that need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import contrast_bank, measure_boxes
from vg_gym.envs import observations as obs
from vg_gym.envs.actions import MIN_SIDE, ActionSet, make_actions
from vg_gym.envs.crops import CropScorer
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.features import FeatureBank
from vg_gym.envs.rewards import Reward
from vg_gym.envs.starts import Generators, make_start
from vg_gym.registry import unknown
from vg_gym.types import Query, VGGymError

SCORINGS = ("dense", "crop")
RESET_OPTIONS = ("index", "initial_box", "query")


@dataclass
class EnvOptions:
    """Every option of the environment that is not its data or its CLIP."""

    action: str = "multi-edges"
    """``classic``, ``edges``, ``multi-edges``, ``continuous``."""
    coarse: float = 0.3
    """Big step, as a fraction of the box's side."""
    fine: float = 0.08
    """Small step."""
    reward: str = "clip"
    """``clip``, ``iou``, ``clip+iou``."""
    score: str = "context"
    """The CLIP score: ``cosine``, ``context``, ``surround``, ``contrast``."""
    scoring: str = "dense"
    """Where it comes from: ``dense`` features of the image, or ``crop``s encoded at every step."""
    step_cost: float = 0.01
    trigger_bonus: float = 0.1
    initial_box: str = "full"
    """``full``, ``center``, ``random``, ``jitter`` (needs labels), the name of a grounder, or several with commas
    between, of which each episode draws one."""
    max_steps: int = 10
    observation: str = "features"
    """``features`` or ``pixels``."""
    tokens: bool = False
    """Token features of the expression in the observation."""
    glimpse_features: bool = False
    """Feature glimpses in the observation."""
    phrases: bool = False
    """Score maps of the noun phrases too."""


@dataclass
class StepResult:
    """What a step gives, one row per sub-environment."""

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


@dataclass
class GroundingEngine:
    """N grounding episodes at once.

    Args:
        episodes: where queries (and targets) come from.
        clip: the encoder.
        num_envs: N.
        options: see :class:`EnvOptions`.
        bank: features to share between engines; default a new one.

    Raises:
        VGGymError: an option is unknown, or asks for labels that the source has not.
    """

    episodes: Episodes
    clip: ClipEncoder
    num_envs: int
    options: EnvOptions = field(default_factory=EnvOptions)
    bank: FeatureBank | None = None

    def __post_init__(self):
        o, n, clip = self.options, self.num_envs, self.clip
        if o.scoring not in SCORINGS:
            raise unknown("scoring", o.scoring, SCORINGS)
        if o.max_steps < 1:
            raise VGGymError(f"max_steps={o.max_steps} must be at least 1")
        self.actions: ActionSet = make_actions(o.action, o.coarse, o.fine)
        self.reward = Reward(o.reward, o.step_cost, o.trigger_bonus)
        if self.reward.needs_labels and not self.episodes.labelled:
            raise VGGymError(f"reward={o.reward!r} needs box labels, and bare queries have none; use reward='clip'")
        self.start = make_start(o.initial_box, self.episodes, clip.name)
        self.view = obs.ObservationOptions(o.observation, o.tokens, o.glimpse_features)
        tokens = o.tokens or o.glimpse_features
        self.features = self.bank or FeatureBank(clip, tokens, o.phrases)
        if (self.features.clip, self.features.tokens, self.features.phrases) != (clip, tokens, o.phrases):
            raise VGGymError("the given bank= has another CLIP, tokens or phrases than the environment; leave it out")
        maps, grid = self.features.num_maps, clip.grid + 1
        self.observation_space = obs.observation_space(self.view, clip, maps, self.actions)
        self.others = clip.encode_text(contrast_bank(clip.words)) if o.score == "contrast" else None
        self.crops = CropScorer(clip, o.score, self.others) if o.scoring == "crop" else None

        self.index = np.zeros(n, dtype=np.int64)
        self.queries: list[Query | None] = [None] * n
        self.identity: dict[str, np.ndarray] = {
            "key": np.full(n, "", dtype=object),
            "kind": np.full(n, "", dtype=object),
            "ref_id": np.full(n, -1, dtype=np.int64),
            "sent_id": np.full(n, -1, dtype=np.int64),
        }
        self.sizes = np.ones((n, 4), dtype=np.float32)
        self.boxes = np.tile(box_ops.FULL, (n, 1))
        self.targets = np.full((n, 4), np.nan, dtype=np.float32)
        self.steps = np.zeros(n, dtype=np.int64)
        self.score = np.zeros(n, dtype=np.float32)
        self.score_change = np.zeros(n, dtype=np.float32)
        self.potential = np.zeros(n, dtype=np.float32)
        self.history = np.zeros((n, obs.HISTORY, self.actions.encoding), dtype=np.float32)
        self.region = np.zeros((n, clip.dim), dtype=np.float32)
        self.text = np.zeros((n, clip.dim), dtype=np.float32)
        self.image = np.zeros((n, clip.dim), dtype=np.float32)
        self.tokens = np.zeros((n, clip.num_tokens, clip.dim), dtype=np.float32)
        self.table = np.zeros((n, grid, grid, clip.dim), dtype=np.float32)
        self.maps = np.zeros((n, grid, grid, maps), dtype=np.float32)

    def reset_rows(
        self,
        rows: Sequence[int] | np.ndarray,
        rngs: Generators,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Start new episodes in some rows.

        Args:
            rows: which sub-environments.
            rngs: generators by row; each row draws from its own.
            options: ``index`` (which episode), ``initial_box`` (normalised, 4 numbers), ``query`` (a bare
                :class:`~vg_gym.types.Query`: no target), for all of the rows.

        Raises:
            VGGymError: an option is unknown or out of range.
        """
        given = _checked(options, len(self.episodes), self.reward.needs_labels)
        for row in rows:
            drawn = int(rngs[row].integers(len(self.episodes)))
            self._load(row, given.get("index", drawn), given.get("query"))
        at = np.asarray(rows, dtype=np.int64)
        if "initial_box" in given:
            self.boxes[at] = given["initial_box"]
        else:
            started = self.start(at, self, rngs)
            self.boxes[at] = box_ops.fit_inside(started.astype(np.float32), min_side=MIN_SIDE)
        self.steps[at] = 0
        self.history[at] = 0
        self._measure(at)
        self.score_change[at] = 0

    def _load(self, row: int, index: int, query: Query | None) -> None:
        """Put a query and everything known of it into a row."""
        self.index[row] = -1 if query is not None else index
        identity = self.episodes.identity(index if query is None else query)
        for name, values in self.identity.items():
            values[row] = identity[name]
        self.queries[row] = query = query or self.episodes.query(index)
        self.targets[row] = self.episodes.target(index) if self.index[row] >= 0 else np.nan
        self.sizes[row] = box_ops.image_scale(query.image.size)
        found = self.features.query(query)
        self.text[row], self.image[row] = found.text, found.image
        if found.tokens is not None:
            self.tokens[row] = found.tokens
        self.table[row], self.maps[row] = found.table, found.maps

    def step(self, actions: np.ndarray) -> StepResult:
        """Act in every row.

        Args:
            actions: (N, ...) of the action space.

        Raises:
            VGGymError: an action is NaN or outside the space.
        """
        before = self.potential.copy()
        self.boxes, stop = self.actions.apply(self.boxes, np.asarray(actions))
        self.steps += 1
        self.history = np.concatenate([self.history[:, 1:], self.actions.encode(np.asarray(actions))[:, None]], axis=1)
        self._measure(slice(None))
        truncated = ~stop & (self.steps >= self.options.max_steps)
        return StepResult(self.reward(before, self.potential, stop), stop, truncated)

    def _measure(self, rows: Any) -> None:
        """Score the boxes of some rows and look up their region features."""
        boxes, text, table = self.boxes[rows], self.text[rows], self.table[rows]
        before = self.score[rows]
        if self.crops is None:
            region, self.score[rows] = measure_boxes(self.options.score, table, text, boxes, self.others)
            self.region[rows] = np.clip(region, -1, 1)
        else:
            queries = [self.queries[i] for i in np.arange(self.num_envs)[rows]]
            self.region[rows], self.score[rows] = self.crops(queries, boxes * self.sizes[rows], text)
        self.score_change[rows] = self.score[rows] - before
        self.potential[rows] = self.reward.potential(boxes, self.score[rows], self.targets[rows])

    def observe(self, rows: Any = slice(None)) -> dict[str, np.ndarray]:
        """Observations of some rows, each part (len(rows), ...), freshly allocated."""
        boxes = self.boxes[rows]
        steps = self.steps[rows, None] / np.float32(self.options.max_steps)
        parts = {
            "box": obs.box_coordinates(boxes),
            "glimpses": obs.glimpses(self.maps[rows], boxes),
            "history": self.history[rows].reshape(len(boxes), -1).copy(),
            "image": np.clip(self.image[rows], -1, 1),
            "region": self.region[rows].copy(),
            "score": np.stack([self.score[rows], self.score_change[rows]], axis=1),
            "step": np.minimum(steps, 1).astype(np.float32),
            "text": np.clip(self.text[rows], -1, 1),
        }
        if "tokens" in self.observation_space.spaces:
            parts["tokens"] = np.clip(self.tokens[rows], -1, 1).reshape(len(boxes), -1)
        if self.view.glimpse_features:
            parts["glimpse_features"] = obs.feature_glimpses(self.table[rows], boxes)
        if self.view.mode == "pixels":
            views = [self._pixels(i) for i in np.arange(self.num_envs)[rows]]
            parts["pixels_image"], parts["pixels_crop"] = (np.stack(view) for view in zip(*views, strict=True))
        return {name: parts[name] for name in self.observation_space.spaces}

    def _pixels(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        query = self.queries[row]
        assert query is not None
        return obs.pixel_views(query.image.array(), self.boxes[row] * self.sizes[row])

    def iou(self) -> np.ndarray:
        """IoU (N,) of the boxes with the targets; NaN in rows without a target."""
        known = np.isfinite(self.targets).all(axis=1)
        return np.where(known, box_ops.iou(self.boxes, self.targets), np.nan)

    def masks(self) -> np.ndarray:
        """Which actions would change something; see :meth:`ActionSet.masks`."""
        return self.actions.masks(self.boxes)


def _checked(options: Mapping[str, Any] | None, count: int, needs_labels: bool) -> dict[str, Any]:
    """Reset options, validated; see :meth:`GroundingEngine.reset_rows`."""
    given = dict(options or {})
    for name in given:
        if name not in RESET_OPTIONS:
            raise unknown("reset option", name, RESET_OPTIONS)
    if "index" in given and not 0 <= int(given["index"]) < count:
        raise VGGymError(f"reset option index={given['index']} is outside [0, {count})")
    if "query" in given and needs_labels:
        raise VGGymError("reset option query= has no box label, which this reward needs; use reward='clip'")
    if "initial_box" in given:
        box = np.asarray(given["initial_box"], dtype=np.float32)
        if box.shape != (4,) or not box_ops.is_valid(box, (1, 1)):
            raise VGGymError(
                f"reset option initial_box={given['initial_box']} is no box x1 < x2, y1 < y2 inside [0, 1]"
            )
        given["initial_box"] = box_ops.fit_inside(box, min_side=MIN_SIDE)
    return given
