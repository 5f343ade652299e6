"""The one engine behind all faces of the environment: N episodes side by side, in numpy or, on a device, in torch.

State is a handful of arrays with one row per sub-environment, and nothing loops over rows: what an episode needs is
looked up in tables (:mod:`vg_gym.envs.feature_bank`). On a CPU all of it is arrays, and what a step does to them is
compiled (:mod:`vg_gym.kernels`). On a GPU all of it, observations included, is tensors that stay there. Where the
source has labels, target boxes are read for ``info``, for rewards with ``iou``, and for first boxes near the target;
nothing else depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import kernels
from vg_gym.boxes import to_numpy
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.config import check_ranges
from vg_gym.devices import check_memory
from vg_gym.envs import observations as obs
from vg_gym.envs.actions import MIN_SIDE, ActionSet, make_actions
from vg_gym.envs.edge_profiles import edge_profiles
from vg_gym.envs.episode_order import RUN, EpisodeOrder
from vg_gym.envs.episodes import Catalog, Episodes
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.envs.image_tables import Rows
from vg_gym.envs.initial_boxes import make_initial_boxes
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.proposals import QueryProposals, relative
from vg_gym.envs.reset_options import check_reset_options
from vg_gym.envs.rewards import Reward
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.scoring.factory import make_query_scores, make_scorer
from vg_gym.envs.scoring.protocol import Playing
from vg_gym.errors import VGGymError
from vg_gym.features.store import FeatureStore
from vg_gym.lazily import torch
from vg_gym.types import Query

AHEAD = 16
"""Episodes whose images are read in the background, where one row starts alone."""
MIN_GUESTS = 64
"""Queries from elsewhere that are known at a time, at least."""
_UINT64 = np.dtype(np.uint64)


@dataclass
class StepResult:
    """What a step gives, one row per sub-environment; arrays, or tensors on the engine's device."""

    reward: Any
    """float32 (N,)."""
    terminated: Any
    """Whether the trigger was pulled, bool (N,)."""
    truncated: Any
    """Whether ``max_steps`` cut the episode off, bool (N,)."""


@dataclass(eq=False)
class GroundingEngine:
    """N grounding episodes at once, on the device of the CLIP.

    Args:
        episodes: where queries (and targets) come from.
        clip: the encoder.
        num_envs: N.
        options: see :class:`EnvOptions`.
        bank: features to share between engines; default: a new one.
        tensors: whether state and observations are tensors on the CLIP's device; default: where that is no CPU.

    Raises:
        VGGymError: an option is unknown or out of its range, asks for labels that the source has not, or ``num_envs``
            is more than this machine can hold.
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
        """Where the state is; None: in numpy."""
        jumps = o.num_proposals if o.proposals else 0
        self.actions: ActionSet = make_actions(o.action, o.coarse, o.fine, o.finest, jumps)
        self._action_shape = (self.num_envs, *(self.actions.space.shape or ()))
        self._actions = self.actions if self.device is None else self.actions.to(self.device)
        self.reward = Reward(o.reward, o.step_cost, o.trigger_bonus)
        if self.reward.needs_labels and not self.episodes.labeled:
            raise VGGymError(f"reward={o.reward!r} needs box labels, and bare queries have none; use reward='clip'")
        self.features = self._open_features()
        self.observation_space = obs.observation_space(o, clip, self.features.num_maps, self.actions)
        # Some of the state is as large as what is observed of it, and the last observation is still in use.
        check_memory(f"num_envs={self.num_envs:,}", 2 * self.num_envs * self.row_bytes, "lower num_envs")
        self.catalog = Catalog(self.episodes, self.features, max(MIN_GUESTS, self.num_envs + 1))
        check_memory(f"image_pool={o.image_pool:,}", self.num_envs * RUN * o.image_pool * 8, "lower it")
        self.order = EpisodeOrder(len(self.episodes), o.image_pool)
        self.initial_boxes = make_initial_boxes(o.initial_box, self.catalog)
        self.scorer = make_scorer(o, self.catalog)
        self._allocate()
        self.features.images.users.add(self)

    def limit_steps(self, limit: int | None) -> None:
        """Let the trigger count in the last step at the latest, where episodes may also end after ``limit`` steps."""
        self.min_steps = min(self.options.min_steps, self.options.max_steps, limit or self.options.max_steps)

    @property
    def row_bytes(self) -> int:
        """Size of the observation of one sub-environment."""
        parts = self.observation_space.values()
        return sum(np.dtype(part.dtype).itemsize * math.prod(part.shape or ()) for part in parts)

    def _open_features(self) -> FeatureBank:
        """The given bank, if it has what this environment asks for, or a new one."""
        o = self.options
        if self.bank is None:
            return make_bank(self.episodes, self.clip, o)
        parts = make_query_scores(o, self.clip), make_query_proposals(o, self.clip), o.edge_profiles
        self.bank.check(self.clip, o.needs_tokens, o.phrases, *parts)
        return self.bank

    def _allocate(self) -> None:
        """State: arrays (tensors on a device), one row per sub-environment."""
        n, dim, grid, maps = self.num_envs, self.clip.dim, self.clip.grid + 1, self.features.num_maps
        zeros = self._zeros
        self.index = np.zeros(n, dtype=np.int64)
        self.boxes = self._state(np.tile(box_ops.FULL, (n, 1)))
        self.targets = self._state(np.full((n, 4), np.nan, dtype=np.float32))
        self.scales = self._state(np.ones((n, 4), dtype=np.float32))
        """Pixels (W, H, W, H) of the images."""
        self.overlap = self._overlap(self.boxes, self.targets, self.scales)
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
        shapes = {"text": (dim,), "image": (dim,), "tokens": tokens, "glimpses": (maps + 1, obs.GLIMPSE, obs.GLIMPSE)}
        self._fixed = {name: self._as_kept(zeros(n, *shape)) for name, shape in shapes.items()}
        """What an observation holds that an episode does not change; tensors are as precise as they are seen."""
        self._everywhere = np.arange(n)
        self._basic = obs.BasicParts(self.observation_space)

    def _zeros(self, *shape: int) -> Any:
        return self._state(np.zeros(shape, dtype=np.float32))

    def _state(self, values: Any) -> Any:
        """An array or tensor as state is kept: 64-bit floats become 32-bit ones."""
        if self.device is not None:
            values = torch.as_tensor(values, device=self.device)
            return values.float() if values.is_floating_point() else values
        values = values if isinstance(values, np.ndarray) else values.numpy()
        return values.astype(np.float32) if values.dtype == np.float64 else values

    def _as_seen(self, values: Any, copy: bool = True) -> Any:
        """State in the precision of observations; with ``copy``, the caller's to keep."""
        if self.device is not None:
            return values.to(self._precision, copy=copy)
        return values.astype(self._precision, copy=copy)

    def _as_kept(self, values: Any) -> Any:
        """What is seen unchanged, as it is kept: on a device in the precision of observations, which copies less."""
        return values if self.device is None else self._as_seen(values, copy=False)

    @property
    def queries(self) -> list[Query]:
        """The queries being played."""
        return [self.catalog.query(int(index)) for index in self.index]

    def query(self, row: int) -> Query:
        """The query of a row."""
        return self.catalog.query(int(self.index[row]))

    def identity(self) -> dict[str, np.ndarray]:
        """``key``, ``kind``, ``ref_id``, ``sent_id`` of what is being played, (N,) each."""
        return {name: values[self.index] for name, values in self.catalog.identity.items()}

    def reset_rows(
        self,
        rows: Sequence[int] | np.ndarray,
        rng: CounterRNG,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Start new episodes in some rows.

        Args:
            rows: which sub-environments.
            rng: random numbers of all rows; each row draws from its own stream.
            options: ``index`` (which episode), ``initial_box`` (normalised, 4 numbers), ``query`` (a bare
                :class:`~vg_gym.types.Query`: no target), for all of the rows; the first two also one for each row.

        Raises:
            VGGymError: an option is unknown or out of range.
        """
        rows = np.asarray(rows, dtype=np.int64)
        given = check_reset_options(options, len(self.episodes), self.reward.needs_labels, len(rows))
        index = given.get("index", self.order(rows, rng))
        if "query" in given:
            index = self.catalog.add(given["query"], self.index)
        self._load(rows, np.broadcast_to(index, rows.shape))
        boxes = given.get("initial_box")
        if boxes is None:
            boxes = self.initial_boxes(rows, self.index[rows], self.targets[rows], rng)
        self.boxes[rows] = box_ops.fit_inside(self._state(boxes), min_side=MIN_SIDE)
        self.steps[rows] = 0
        self.history[rows] = 0
        self._measure(rows)
        self.score_change[rows] = 0
        if len(rows) == 1 and self.clip.is_loaded:  # until then all was in a store or in the cache file, which is quick
            self.catalog.look_ahead(self.order.upcoming(int(rows[0]), rng, AHEAD))

    def _load(self, rows: np.ndarray, index: np.ndarray) -> None:
        """Put episodes into rows: what does not change until they end."""
        bank, at = self.features, self.catalog.load(index)
        slots = bank.slots(at, lambda place: self.catalog.query(int(index[place])).image)
        self.index[rows] = index
        self.targets[rows] = self._state(self.catalog.targets[index])
        self.scales[rows] = self._state(self.catalog.scales[index])
        self.slots[rows], self.rows[rows] = (self._state(numbers.astype(np.int32)) for numbers in (slots, at))
        self.text[rows] = text = self._rows_of(bank.text, at)
        fixed = {"text": text, "image": self._rows_of(bank.images.means, slots),
                 "glimpses": self._rows_of(bank.overviews, at)}  # fmt: skip
        if bank.tokens:
            fixed["tokens"] = self._rows_of(bank.token_features, at)
        for name, values in fixed.items():
            self._fixed[name][rows] = self._as_kept(values)
        self.maps[rows] = self._rows_of(bank.maps, at)
        if bank.query_proposals:
            self.proposals[rows] = self._rows_of(bank.proposals, at)

    def _rows_of(self, table: Rows, numbers: np.ndarray) -> Any:
        """Rows of what the bank knows, as state is kept."""
        return table.like(self.boxes)[numbers]

    def close(self) -> None:
        """Close the file of the cache; what needs it opens it again."""
        self.features.close()

    def step(self, actions: Any) -> StepResult:
        """Act in every row.

        Args:
            actions: (N, ...) of the action space, an array, or a tensor on the engine's device.

        Raises:
            VGGymError: there are not N actions of the space, or one is NaN or outside it (arrays only). Then nothing
                has changed.
        """
        actions = self.checked_shape(actions)
        if self.device is not None and isinstance(actions, np.ndarray):
            self.actions.check(actions)
            actions = torch.from_numpy(actions).to(self.device)
        boxes, stop = self._actions.apply(self.boxes, actions, self.proposals)
        return self._advance(boxes, stop, self._actions.encode(actions)[:, None])

    def place(self, boxes: np.ndarray) -> StepResult:
        """A step in every row that puts the box somewhere else, whatever the action set; the history shows no move.

        Args:
            boxes: normalised (N, 4).
        """
        placed = box_ops.fit_inside(self._state(np.asarray(boxes, dtype=np.float32)), min_side=MIN_SIDE)
        moves = self._zeros(self.num_envs, 1, self.actions.encoding)
        return self._advance(placed, moves[:, 0, 0] > 0, moves)

    def _advance(self, boxes: Any, stop: Any, moves: Any) -> StepResult:
        """Take a step to ``boxes`` (N, 4); ``stop`` (N,) pulls the trigger, ``moves`` (N, 1, A) go to the history."""
        before, self.boxes = self.potential, boxes
        self.steps = self.steps + 1
        stop = stop & (self.steps >= self.min_steps)
        self.history = box_ops.namespace(moves).concatenate([self.history[:, 1:], moves], axis=1)
        self._measure(None)
        truncated = ~stop & (self.steps >= self.options.max_steps)
        return StepResult(self.reward(before, self.potential, stop), stop, truncated)

    def checked_shape(self, actions: Any) -> Any:
        """Actions as an array or tensor of numbers, one a row.

        Raises:
            VGGymError: they are not.
        """
        actions = actions if self.device is not None and isinstance(actions, torch.Tensor) else np.asarray(actions)
        if actions.dtype == _UINT64:  # has no sum with places in a table
            actions = actions.astype(np.int64)
        wanted = self._action_shape
        if tuple(actions.shape) != wanted or isinstance(actions, np.ndarray) and actions.dtype.kind not in "iufb":
            raise VGGymError(
                f"actions of shape {tuple(actions.shape)} and type {actions.dtype} are not {self.num_envs} of "
                f"{self.actions.space}: their shape is {wanted}"
            )
        return actions

    def _measure(self, rows: np.ndarray | None) -> None:
        """Score the boxes of some rows, or of all, and look up their region features."""
        playing = Playing(self.index, self.rows, self.slots, self.text)
        boxes, targets, scales = self.boxes, self.targets, self.scales
        if rows is not None:
            playing = Playing(*(values[rows] for values in playing))
            boxes, targets, scales = boxes[rows], targets[rows], scales[rows]
        region, score = self.scorer.score(boxes, playing)
        region, score = self._state(region), self._state(score)
        overlap = self._overlap(boxes, targets, scales)
        potential = self._state(self.reward.potential(score, overlap))
        if rows is None:
            self.region, self.score, self.score_change, self.potential = region, score, score - self.score, potential
            self.overlap = overlap
        else:
            self.region[rows], self.score[rows], self.potential[rows] = region, score, potential
            self.overlap[rows] = overlap

    def _overlap(self, boxes: Any, targets: Any, scales: Any) -> Any:
        """IoUs (B,) of normalised boxes with their targets in pixels, float64."""
        if self.device is not None:
            return box_ops.pixel_iou(box_ops.pixels(boxes, scales), box_ops.pixels(targets, scales))
        overlap = np.empty(len(boxes))
        kernels.over_rows(kernels.pixel_ious, len(boxes), boxes, targets, scales, overlap)
        return overlap

    def observe(self, rows: np.ndarray | None = None) -> dict[str, Any]:
        """Observations of some rows, or of all, each part (B, ...); they are the caller's to keep."""
        count = self.num_envs if rows is None else len(rows)
        if count == 0:
            return obs.empty_observations(self.observation_space, 0, self.device)
        parts = self.observation_space.spaces
        pick: Callable[[Any], Any] = (lambda values: values) if rows is None else itemgetter(rows)
        boxes = pick(self.boxes)
        out = self._observe_arrays(rows) if self.device is None else self._observe_tensors(boxes, pick)
        if "tokens" in parts:
            out["tokens"] = self._as_seen(pick(self._fixed["tokens"]))
        if "glimpse_features" in parts:
            found = obs.feature_glimpses(self.features.images.tables.like(boxes), pick(self.slots), boxes)
            out["glimpse_features"] = self._as_seen(box_ops.clamp(found, -1, 1), copy=False)
        if "proposals" in parts:
            found = relative(pick(self.proposals), boxes).reshape(count, -1)
            out["proposals"] = self._as_seen(found, copy=False)
        if "edge_profiles" in parts:
            found = edge_profiles(self.features.images.edge_tables.like(boxes), pick(self.slots), boxes)
            out["edge_profiles"] = self._as_seen(found, copy=False)
        if "pixels_image" in parts:
            out |= self._pixels(np.arange(self.num_envs) if rows is None else rows)
        return out

    def _observe_arrays(self, rows: np.ndarray | None) -> dict[str, np.ndarray]:
        """What every observation has, of some rows, or of all."""
        score, change, region = map(np.ascontiguousarray, (self.score, self.score_change, self.region))
        fixed = self._fixed
        state = (self.boxes, score, change, self.steps, self.options.max_steps, self.history, fixed["image"], region,
                 fixed["text"], self.maps, fixed["glimpses"])  # fmt: skip
        return self._basic(self._everywhere if rows is None else rows, *state)

    def _observe_tensors(self, boxes: torch.Tensor, pick: Callable[[Any], Any]) -> dict[str, torch.Tensor]:
        """What every observation has, of boxes (B, 4) and of the rows that ``pick`` takes."""
        low, high = boxes[:, :2], boxes[:, 2:]
        maps, overview = pick(self.maps), pick(self._fixed["glimpses"])
        glimpses = overview.new_empty((len(boxes), len(obs.WINDOWS) + 1, *overview.shape[1:]))
        obs.glimpses(maps, obs.window_lines(boxes), glimpses)
        glimpses[:, -1] = overview
        parts = {
            "box": torch.cat([boxes, (low + high) / 2, high - low], dim=1),
            "glimpses": glimpses.flatten(1),
            "history": pick(self.history).flatten(1),
            "score": torch.stack([pick(self.score), pick(self.score_change)], dim=1),
            "step": (pick(self.steps)[:, None] / self.options.max_steps).clip(0, 1),
        }
        parts |= {"region": pick(self.region), "image": pick(self._fixed["image"]), "text": pick(self._fixed["text"])}
        return {name: self._as_seen(values) for name, values in parts.items()}

    def _pixels(self, rows: Any) -> dict[str, Any]:
        """The images of ``observation="pixels"``, one by one."""
        boxes, views = to_numpy(self.boxes), []
        for row in to_numpy(rows).tolist():
            query = self.query(row)
            views.append(obs.pixel_views(query.image.array(), boxes[row] * box_ops.image_scale(query.image.size)))
        names = ("pixels_image", "pixels_crop")
        return {name: self._state(np.stack(parts)) for name, parts in zip(names, zip(*views, strict=True), strict=True)}

    def iou(self) -> Any:
        """Return the IoU of the boxes with the targets, float64 (N,), NaN in rows without a target; to be kept."""
        return self.overlap.copy() if self.device is None else self.overlap.clone()

    def masks(self) -> np.ndarray:
        """Which actions would change something; see :meth:`ActionSet.masks`. A trigger that is too early does not."""
        masks = self.actions.masks(to_numpy(self.boxes), to_numpy(self.proposals))
        masks[to_numpy(self.steps) + 1 < self.min_steps, self.actions.trigger_column] = False
        return masks


def make_bank(episodes: Episodes, clip: ClipEncoder, options: EnvOptions) -> FeatureBank:
    """A bank with the features that an environment asks for.

    Raises:
        VGGymError: ``features`` is no store of these episodes and this CLIP.
    """
    o, store = options, FeatureStore.open(options.features) if options.features else None
    parts = make_query_scores(o, clip), make_query_proposals(o, clip), o.edge_profiles
    bank = FeatureBank(clip, o.needs_tokens, o.phrases, o.memory, store, *parts, cache=o.cache)
    if store is not None:
        bank.prepare([episodes.query(0)])
    return bank


def make_query_proposals(options: EnvOptions, clip: ClipEncoder) -> QueryProposals | None:
    """The proposals that an environment asks for; None where it asks for none.

    Raises:
        VGGymError: the proposer is unknown, or its weights or package are missing.
    """
    if not options.proposals:
        return None
    return QueryProposals(options.proposals, options.num_proposals, clip)
