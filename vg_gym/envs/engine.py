"""Batched engine behind every face of the environment: N episodes in parallel, in numpy or, on a device, in torch.

The state is a set of arrays with one row per sub-environment, without loops over rows: the features of an episode are
looked up in tables (:mod:`vg_gym.features.bank`). On a CPU the state is numpy arrays, and the arithmetic of a step
is compiled (:mod:`vg_gym.clip.kernels`). On a GPU everything, observations included, is tensors that stay on the
device. If the source has labels, target boxes are read for ``info``, for rewards with ``iou``, and for initial boxes
near the target. Nothing else depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.boxes import to_numpy
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.config import check_ranges
from vg_gym.envs import observations as obs
from vg_gym.envs.actions import MIN_SIDE, ActionSet, make_actions
from vg_gym.envs.episode_order import RUN_LENGTH, EpisodeOrder
from vg_gym.envs.episodes import Catalog, Episodes
from vg_gym.envs.initial_boxes import make_initial_boxes
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.reset_options import check_reset_options
from vg_gym.envs.rewards import Reward, target_iou
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.scoring.factory import make_query_scores, make_scorer
from vg_gym.envs.scoring.protocol import Playing
from vg_gym.errors import VGGymError
from vg_gym.features.bank import FeatureBank
from vg_gym.features.edge_profiles import edge_profiles
from vg_gym.features.glimpses import GLIMPSE, State, feature_glimpses, seen_arrays, seen_tensors
from vg_gym.features.image_tables import Rows
from vg_gym.features.query_proposals import QueryProposals, relative
from vg_gym.features.store import FeatureStore
from vg_gym.runtime.devices import check_memory
from vg_gym.runtime.lazy_imports import torch
from vg_gym.types import Query

EPISODES_AHEAD = 16
"""Number of coming episodes whose images are read in the background when a single row starts."""
MIN_GUESTS = 64
"""Smallest number of queries outside the source that the catalog can hold at a time."""


@dataclass
class StepResult:
    """Result of a step, one row per sub-environment; arrays, or tensors on the engine's device."""

    reward: Any
    """Rewards, float32 (N,)."""
    terminated: Any
    """True if the trigger was pulled, bool (N,)."""
    truncated: Any
    """True if ``max_steps`` cut the episode off, bool (N,)."""


@dataclass(eq=False)
class GroundingEngine:
    """N grounding episodes in parallel, on the device of the CLIP.

    Args:
        episodes: source of queries and targets.
        clip: encoder of images and expressions.
        num_envs: number of sub-environments, N.
        options: see :class:`EnvOptions`.
        bank: features to share between engines; default: a new bank.
        tensors: whether state and observations are tensors on the CLIP's device; default: True unless it is a CPU.

    Raises:
        VGGymError: an option is unknown or out of range, requires labels that the source lacks, or ``num_envs`` exceeds
            the memory of this machine.
    """

    episodes: Episodes
    clip: ClipEncoder
    num_envs: int
    options: EnvOptions = field(default_factory=EnvOptions)
    bank: FeatureBank | None = None
    tensors: bool | None = None

    def __post_init__(self):
        o, clip = self.options, self.clip
        check_ranges(o)
        self.limit_steps(None)
        tensors = not clip.on_cpu if self.tensors is None else self.tensors
        self.device: torch.device | None = clip.device if tensors else None
        """Device of the state; None for numpy arrays."""
        jumps = o.num_proposals if o.proposals else 0
        self.actions: ActionSet = make_actions(o.action, o.coarse, o.fine, o.finest, jumps)
        self._action_shape = (self.num_envs, *(self.actions.space.shape or ()))
        self._actions = self.actions if self.device is None else self.actions.to(self.device)
        self.reward = Reward(o.reward, o.step_cost, o.trigger_bonus)
        if self.reward.needs_labels and not self.episodes.labeled:
            raise VGGymError(f"reward={o.reward!r} needs box labels, which bare queries lack; use reward='clip'")
        self.features = self._open_features()
        self.observation_space = obs.observation_space(o, clip, self.features.num_maps, self.actions)
        # Parts of the state are as large as the observation of them, and the last observation is still in use.
        check_memory(f"num_envs={self.num_envs:,}", 2 * self.num_envs * self.row_bytes, "lower num_envs")
        self.catalog = Catalog(self.episodes, self.features, max(MIN_GUESTS, self.num_envs + 1))
        check_memory(f"image_pool={o.image_pool:,}", self.num_envs * RUN_LENGTH * o.image_pool * 8, "lower it")
        self.order = EpisodeOrder(len(self.episodes), o.image_pool)
        self.initial_boxes = make_initial_boxes(o.initial_box, self.catalog)
        self.scorer = make_scorer(o, self.catalog)
        self._allocate()
        self.features.images.users.add(self)

    def limit_steps(self, limit: int | None) -> None:
        """Let the trigger count in the last step at the latest if episodes may also end after ``limit`` steps."""
        self.min_steps = min(self.options.min_steps, self.options.max_steps, limit or self.options.max_steps)

    @property
    def row_bytes(self) -> int:
        """Size of the observation of one sub-environment in bytes."""
        parts = self.observation_space.values()
        return sum(np.dtype(part.dtype).itemsize * math.prod(part.shape or ()) for part in parts)

    def _open_features(self) -> FeatureBank:
        """Return the shared bank if it has the features that this environment needs, otherwise a new one."""
        o = self.options
        if self.bank is None:
            return make_bank(self.episodes, self.clip, o)
        parts = make_query_scores(o, self.clip), make_query_proposals(o, self.clip), o.edge_profiles
        self.bank.check(self.clip, o.needs_tokens, o.phrases, *parts)
        return self.bank

    def _allocate(self) -> None:
        """Allocate the state: arrays, or tensors on a device, with one row per sub-environment."""
        n, dim, grid, maps = self.num_envs, self.clip.dim, self.clip.grid + 1, self.features.num_maps
        zeros = self._zeros
        self.index = np.zeros(n, dtype=np.int64)
        self.boxes = self._state(np.tile(box_ops.FULL, (n, 1)))
        self.targets = self._state(np.full((n, 4), np.nan, dtype=np.float32))
        self.scales = self._state(np.ones((n, 4), dtype=np.float32))
        """Sizes of the images in pixels (W, H, W, H), (N, 4)."""
        self.steps = self._state(np.zeros(n, dtype=np.int64))
        self.slots, self.rows = (self._state(np.zeros(n, dtype=np.int32)) for _ in range(2))
        self.score, self.score_change, self.potential = zeros(n), zeros(n), zeros(n)
        self.history = zeros(n, obs.HISTORY, self.actions.encoding)
        self.region, self.text = zeros(n, dim), zeros(n, dim)
        self.maps = zeros(n, maps, grid, grid)
        self.proposals = zeros(n, *self.features.proposals.shape)
        self._precision: Any = np.dtype(self.options.precision)
        if self.device is not None:
            self._precision = getattr(torch, self.options.precision)
        tokens = (self.clip.num_tokens * dim,) if self.features.tokens else (0,)
        shapes = {"text": (dim,), "image": (dim,), "tokens": tokens, "glimpses": (maps + 1, GLIMPSE, GLIMPSE)}
        self._fixed = {name: self._as_stored(zeros(n, *shape)) for name, shape in shapes.items()}
        """Parts of an observation that stay constant in an episode; tensors have the precision of observations."""
        self._everywhere = np.arange(n)

    def _zeros(self, *shape: int) -> Any:
        return self._state(np.zeros(shape, dtype=np.float32))

    def _state(self, values: Any) -> Any:
        """Convert an array or tensor to state: it moves to the device, and 64-bit floats become 32-bit ones."""
        if self.device is not None:
            values = torch.as_tensor(values, device=self.device)
            return values.float() if values.is_floating_point() else values
        values = values if isinstance(values, np.ndarray) else values.numpy()
        return values.astype(np.float32) if values.dtype == np.float64 else values

    def _as_seen(self, values: Any, copy: bool = True) -> Any:
        """Return state in the precision of observations; with ``copy`` the caller may keep it."""
        if self.device is not None:
            return values.to(self._precision, copy=copy)
        return values.astype(self._precision, copy=copy)

    def _as_stored(self, values: Any) -> Any:
        """Return the stored form of a constant part: on a device in the precision of observations, to copy less."""
        return values if self.device is None else self._as_seen(values, copy=False)

    @property
    def queries(self) -> list[Query]:
        """Queries of the current episodes."""
        return [self.catalog.query(int(index)) for index in self.index]

    def query(self, row: int) -> Query:
        """Return the query of a row."""
        return self.catalog.query(int(self.index[row]))

    def identity(self) -> dict[str, np.ndarray]:
        """Return ``key``, ``kind``, ``ref_id`` and ``sent_id`` of the current episodes, (N,) each."""
        return {name: values[self.index] for name, values in self.catalog.identity.items()}

    def reset_rows(
        self,
        rows: Sequence[int] | np.ndarray,
        rng: CounterRNG,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Start new episodes in some rows.

        Args:
            rows: indices of the sub-environments.
            rng: random numbers of all rows; each row draws from its own stream.
            options: ``index`` (index of the episode), ``initial_box`` (normalised, 4 numbers) and ``query`` (a bare
                :class:`~vg_gym.types.Query` without a target). One value applies to all rows; the first two may also
                have one value for each row.

        Raises:
            VGGymError: an option is unknown or out of range.
        """
        rows = np.asarray(rows, dtype=np.int64)
        values = check_reset_options(options, len(self.episodes), self.reward.needs_labels, len(rows))
        index = values.get("index", self.order(rows, rng))
        if "query" in values:
            index = self.catalog.add(values["query"], self.index)
        self._load(rows, np.broadcast_to(index, rows.shape))
        boxes = values.get("initial_box")
        if boxes is None:
            boxes = self.initial_boxes(rows, self.index[rows], self.targets[rows], rng)
        self.boxes[rows] = box_ops.fit_inside(self._state(boxes), min_side=MIN_SIDE)
        self.steps[rows] = 0
        self.history[rows] = 0
        self._measure(rows)
        self.score_change[rows] = 0
        if len(rows) == 1 and self.clip.is_loaded:  # until CLIP is loaded, all features were cached
            self.catalog.look_ahead(self.order.upcoming(int(rows[0]), rng, EPISODES_AHEAD))

    def _load(self, rows: np.ndarray, index: np.ndarray) -> None:
        """Load the parts of episodes that stay constant until they end into rows."""
        bank, bank_rows = self.features, self.catalog.load(index)
        slots = bank.slots(bank_rows, lambda place: self.catalog.query(int(index[place])).image)
        self.index[rows] = index
        self.targets[rows] = self._state(self.catalog.targets[index])
        self.scales[rows] = self._state(self.catalog.scales[index])
        self.slots[rows], self.rows[rows] = (self._state(numbers.astype(np.int32)) for numbers in (slots, bank_rows))
        self.text[rows] = text = self._rows_of(bank.text, bank_rows)
        fixed = {"text": text, "image": self._rows_of(bank.images.means, slots),
                 "glimpses": self._rows_of(bank.overviews, bank_rows)}  # fmt: skip
        if bank.tokens:
            fixed["tokens"] = self._rows_of(bank.token_features, bank_rows)
        for name, values in fixed.items():
            self._fixed[name][rows] = self._as_stored(values)
        self.maps[rows] = self._rows_of(bank.maps, bank_rows)
        if bank.query_proposals:
            self.proposals[rows] = self._rows_of(bank.proposals, bank_rows)

    def _rows_of(self, table: Rows, numbers: np.ndarray) -> Any:
        """Return rows of a table of the bank as state."""
        return table.like(self.boxes)[numbers]

    def close(self) -> None:
        """Close the file of the cache; the next access opens it again."""
        self.features.close()

    def step(self, actions: Any) -> StepResult:
        """Act in every row.

        Args:
            actions: (N, ...) in the action space, an array, or a tensor on the engine's device.

        Raises:
            VGGymError: the number of actions is not N, or an action is NaN or outside the space (arrays only). Then the
                state is unchanged.
        """
        actions = self.checked_shape(actions)
        if self.device is not None and isinstance(actions, np.ndarray):
            self.actions.check(actions)
            actions = torch.from_numpy(actions).to(self.device)
        boxes, stop = self._actions.apply(self.boxes, actions, self.proposals)
        return self._advance(boxes, stop, self._actions.encode(actions)[:, None])

    def place(self, boxes: np.ndarray) -> StepResult:
        """Take a step in every row that places the box, whatever the action set; the history shows no move.

        Args:
            boxes: new boxes, normalised (N, 4).
        """
        placed = box_ops.fit_inside(self._state(np.asarray(boxes, dtype=np.float32)), min_side=MIN_SIDE)
        moves = self._zeros(self.num_envs, 1, self.actions.encoding)
        return self._advance(placed, moves[:, 0, 0] > 0, moves)

    def _advance(self, boxes: Any, stop: Any, moves: Any) -> StepResult:
        """Take a step to ``boxes`` (N, 4); ``stop`` (N,) pulls the trigger, ``moves`` (N, 1, A) enter the history."""
        before, self.boxes = self.potential, boxes
        self.steps = self.steps + 1
        stop = stop & (self.steps >= self.min_steps)
        self.history = box_ops.namespace(moves).concatenate([self.history[:, 1:], moves], axis=1)
        self._measure(None)
        truncated = ~stop & (self.steps >= self.options.max_steps)
        return StepResult(self.reward(before, self.potential, stop), stop, truncated)

    def checked_shape(self, actions: Any) -> Any:
        """Return actions as an array or tensor of numbers, one per row.

        Raises:
            VGGymError: the actions have another shape or are not numbers.
        """
        actions = actions if self.device is not None and isinstance(actions, torch.Tensor) else np.asarray(actions)
        if actions.dtype == np.uint64:  # numpy cannot add uint64 to the int64 offsets of a table
            actions = actions.astype(np.int64)
        shape = self._action_shape
        if tuple(actions.shape) != shape or isinstance(actions, np.ndarray) and actions.dtype.kind not in "iufb":
            raise VGGymError(
                f"actions of shape {tuple(actions.shape)} and type {actions.dtype} are not {self.num_envs} of "
                f"{self.actions.space}: their shape must be {shape}"
            )
        return actions

    def _measure(self, rows: np.ndarray | None) -> None:
        """Score the boxes of some rows, or of all, and look up the features of their regions."""
        playing = Playing(self.index, self.rows, self.slots, self.text)
        boxes, targets, scales = self.boxes, self.targets, self.scales
        if rows is not None:
            playing = Playing(*(values[rows] for values in playing))
            boxes, targets, scales = boxes[rows], targets[rows], scales[rows]
        region, score = self.scorer.score(boxes, playing)
        region, score = self._state(region), self._state(score)
        overlap = target_iou(boxes, targets, scales) if self.reward.needs_labels else None
        potential = self._state(self.reward.potential(score, overlap))
        if rows is None:
            self.region, self.score, self.score_change, self.potential = region, score, score - self.score, potential
        else:
            self.region[rows], self.score[rows], self.potential[rows] = region, score, potential

    def observe(self, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Return observations of some rows, or of all, each part (B, ...); the caller may keep them."""
        count = self.num_envs if rows is None else len(rows)
        if count == 0:
            return obs.empty_observations(self.observation_space, 0, self.device)
        parts = self.observation_space.spaces
        pick: Callable[[Any], Any] = (lambda values: values) if rows is None else itemgetter(rows)
        boxes = pick(self.boxes)
        out = self._seen(rows, pick)
        if "tokens" in parts:
            out["tokens"] = self._as_seen(pick(self._fixed["tokens"]))
        if "glimpse_features" in parts:
            values = feature_glimpses(self.features.images.tables.like(boxes), pick(self.slots), boxes)
            out["glimpse_features"] = self._as_seen(box_ops.clamp(values, -1, 1), copy=False)
        if "proposals" in parts:
            values = relative(pick(self.proposals), boxes).reshape(count, -1)
            out["proposals"] = self._as_seen(values, copy=False)
        if "edge_profiles" in parts:
            values = edge_profiles(self.features.images.edge_tables.like(boxes), pick(self.slots), boxes)
            out["edge_profiles"] = self._as_seen(values, copy=False)
        if "pixels_image" in parts:
            out |= self._pixels(np.arange(self.num_envs) if rows is None else rows)
        return out

    def _seen(self, rows: np.ndarray | None, pick: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the parts that every observation has, of some rows, which ``pick`` selects, or of all."""
        fixed, max_steps = self._fixed, self.options.max_steps
        state = State(self.boxes, self.maps, fixed["glimpses"], self.history, fixed["image"], self.region, self.score,
                      self.score_change, self.steps, fixed["text"])  # fmt: skip
        if self.device is None:
            indices = self._everywhere if rows is None else rows
            return seen_arrays(state, max_steps, indices, self._precision == np.float16)._asdict()
        parts = seen_tensors(State(*map(pick, state)), max_steps)._asdict()
        return {name: self._as_seen(values) for name, values in parts.items()}

    def _pixels(self, rows: Any) -> dict[str, Any]:
        """Return the image and crop of ``observation="pixels"``, row by row."""
        boxes, views = to_numpy(self.boxes), []
        for row in to_numpy(rows).tolist():
            query = self.query(row)
            views.append(obs.pixel_views(query.image.array(), boxes[row] * box_ops.image_scale(query.image.size)))
        names = ("pixels_image", "pixels_crop")
        return {name: self._state(np.stack(parts)) for name, parts in zip(names, zip(*views, strict=True), strict=True)}

    def iou(self) -> Any:
        """Return the IoU of the boxes with the targets, float64 (N,), NaN without a target; the caller may keep it."""
        return target_iou(self.boxes, self.targets, self.scales)

    def masks(self) -> np.ndarray:
        """Return which actions change something, see :meth:`ActionSet.masks`; an early trigger changes nothing."""
        masks = self.actions.masks(to_numpy(self.boxes), to_numpy(self.proposals))
        masks[to_numpy(self.steps) + 1 < self.min_steps, self.actions.trigger_column] = False
        return masks


def make_bank(episodes: Episodes, clip: ClipEncoder, options: EnvOptions) -> FeatureBank:
    """Build a bank with the features that an environment needs.

    Raises:
        VGGymError: the store ``features`` does not fit these episodes and this CLIP.
    """
    o, store = options, FeatureStore.open(options.features) if options.features else None
    parts = make_query_scores(o, clip), make_query_proposals(o, clip), o.edge_profiles
    bank = FeatureBank(clip, o.needs_tokens, o.phrases, o.memory, store, *parts, cache=o.cache)
    if store is not None:
        bank.prepare([episodes.query(0)])
    return bank


def make_query_proposals(options: EnvOptions, clip: ClipEncoder) -> QueryProposals | None:
    """Return the proposals that an environment observes; None if ``proposals`` is empty.

    Raises:
        VGGymError: the proposer is unknown, or its weights or package are missing.
    """
    return QueryProposals(options.proposals, options.num_proposals, clip) if options.proposals else None
