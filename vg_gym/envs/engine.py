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
from vg_gym.envs.action_set import ActionSet
from vg_gym.envs.banks import make_bank, make_query_proposals
from vg_gym.envs.engine_state import EngineState
from vg_gym.envs.episode_order import RUN_LENGTH, EpisodeOrder
from vg_gym.envs.episodes import Catalog, Episodes
from vg_gym.envs.initial_boxes import make_initial_boxes
from vg_gym.envs.moves import MIN_SIDE
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.reset_options import check_reset_options
from vg_gym.envs.rewards import target_iou
from vg_gym.envs.rng import CounterRNG
from vg_gym.envs.scoring.factory import make_query_scores, make_scorer
from vg_gym.envs.scoring.protocol import Playing
from vg_gym.errors import VGGymError
from vg_gym.features.bank import FeatureBank
from vg_gym.features.edge_profiles import edge_profiles
from vg_gym.features.glimpse_parts import State
from vg_gym.features.glimpses import feature_glimpses, seen_arrays, seen_tensors
from vg_gym.features.image_tables import Rows
from vg_gym.features.query_proposals import relative
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
class GroundingEngine(EngineState):
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
        if self.episodes.labeled and self.episodes.targets != o.targets:
            raise VGGymError(f"targets={o.targets!r} needs Episodes(items, {o.targets!r})")
        tensors = not clip.on_cpu if self.tensors is None else self.tensors
        self.device: torch.device | None = clip.device if tensors else None
        """Device of the state; None for numpy arrays."""
        self.actions: ActionSet = o.action_set()
        self._action_shape = (self.num_envs, *(self.actions.space.shape or ()))
        self._actions = self.actions if self.device is None else self.actions.to(self.device)
        self.reward = o.potential(self.episodes.labeled)
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
        """Truncate episodes after ``limit`` steps too; the trigger counts in the last step at the latest."""
        self.max_steps = min(self.options.max_steps, limit or self.options.max_steps)
        self.min_steps = min(self.options.min_steps, self.max_steps)

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
        self.bank.check(self.clip, o.needs_tokens, o.phrases, *parts, words=o.proposal_features)
        return self.bank

    @property
    def queries(self) -> list[Query]:
        """Queries of the current episodes."""
        return [self.catalog.query(int(index)) for index in self.index]

    def query(self, row: int) -> Query:
        """Return the query of a row."""
        return self.catalog.query(int(self.index[row]))

    def identity(self) -> dict[str, np.ndarray]:
        """Return ``key``, ``expression``, ``kind``, ``ref_id`` and ``sent_id`` of the current episodes, (N,) each."""
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
        if self.answers:
            self.answers.begin(rows, self.boxes[rows])
        if self.looks:
            self.looks.forget(rows)
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
        if self.answers:
            boxes = [self.catalog.all_targets.get(number) for number in index.tolist()]
            self.answers.load(rows, boxes, [self.catalog.query(number).expression for number in index.tolist()])
        self.slots[rows], self.rows[rows] = (self._state(numbers.astype(np.int32)) for numbers in (slots, bank_rows))
        self.text[rows] = text = self._rows_of(bank.text, bank_rows)
        fixed = {"text": text, "image": self._rows_of(bank.images.means, slots),
                 "glimpses": self._rows_of(bank.overviews, bank_rows)}  # fmt: skip
        fixed |= bank.texts_of(bank_rows, self.boxes)
        if bank.query_proposals:
            proposals, observed = self._rows_of(bank.proposals, bank_rows), bank.query_proposals.observed
            self.proposals[rows] = proposals[..., :observed]
            fixed["proposal_features"] = proposals[..., observed:].reshape(len(rows), -1)
        for name, values in fixed.items():
            self._fixed[name][rows] = self._as_stored(values)
        self.maps[rows] = self._rows_of(bank.maps, bank_rows)

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
        answers = self._actions.answers(actions) if self.answers else ()
        looks = self._actions.looks(actions) if self.looks else None
        return self._advance(boxes, stop, self._actions.encode(actions)[:, None], answers, looks)

    def place(self, boxes: np.ndarray) -> StepResult:
        """Take a step in every row that places the box, whatever the action set; the history shows no move.

        Args:
            boxes: new boxes, normalised (N, 4).
        """
        placed = box_ops.fit_inside(self._state(np.asarray(boxes, dtype=np.float32)), min_side=MIN_SIDE)
        moves = self._zeros(self.num_envs, 1, self.actions.encoding)
        nowhere = moves[:, 0, 0] > 0
        return self._advance(placed, nowhere, moves, (nowhere, nowhere) if self.answers else ())

    def _advance(self, boxes: Any, stop: Any, moves: Any, answers: Sequence[Any], looks: Any = None) -> StepResult:
        """Take a step in every row.

        Args:
            boxes: new boxes (N, 4).
            stop: rows that pull the trigger, bool (N,).
            moves: codes of the actions (N, 1, A), which enter the history.
            answers: rows that say "this one, and on", and "nothing more", bool (N,) each; empty with ``targets="one"``.
            looks: rows that look closer, bool (N,); None for none.
        """
        before, ended, price = self.potential, stop, 0.0
        if self.answers:
            recorded, false_boxes = self.answers.record(answers[0], self.boxes, self.score, self.scales)
            boxes = box_ops.namespace(boxes).where(recorded[:, None], self.answers.start, boxes)
            ended, price = stop | answers[1], false_boxes * self._label_price(self.options.false_box_price)
        self.boxes, self.steps = boxes, self.steps + 1
        ended = ended & (self.steps >= self.min_steps)
        self.history = box_ops.namespace(moves).concatenate([self.history[:, 1:], moves], axis=1)
        if self.looks and looks is not None:
            self.looks.look(np.flatnonzero(to_numpy(looks)), self.boxes, self.query)
            price = price + looks * self.options.zoom_price
        self._measure(None)
        truncated = ~ended & (self.steps >= self.max_steps)
        if self.answers:
            price = price + self._close(stop, ended, truncated)
        reward = self.reward(before, self.potential, ended)
        priced = self.answers or looks is not None
        return StepResult(reward - self._state(price) if priced else reward, ended, truncated)

    def _close(self, stop: Any, ended: Any, truncated: Any) -> Any:
        """Complete the answers of rows that ended, whose potential becomes that of the answer, and return prices (N,).

        Args:
            stop: rows that pull the trigger, so that the box is part of the answer, bool (N,).
            ended: rows that end, bool (N,).
            truncated: rows that are cut off, bool (N,).
        """
        answers, values, xp = self.answers, self._values, box_ops.namespace(stop)
        assert answers is not None
        with_box = (ended & stop) | (truncated & (answers.count == 0))
        f1 = xp.where(with_box, values.f1_with, values.f1) if self.reward.needs_labels else None
        final = self.reward.potential(xp.where(with_box, values.worth_with, values.worth), f1)
        self.potential = xp.where(ended | truncated, self._state(final), self.potential)
        answers.close(ended | truncated, with_box, self.boxes)
        false = (ended | truncated) & answers.is_false_nothing()
        return false * self._label_price(self.options.false_nothing_price)

    def _label_price(self, price: float) -> float:
        """Return a price that only labels can tell; 0 if the reward reads none."""
        return price if self.reward.needs_labels else 0.0

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
        looks, scorer = self.looks, self.scorer
        region, score = looks.measured(scorer, boxes, playing, rows) if looks else scorer.score(boxes, playing)
        region, score = self._state(region), self._state(score)
        if self.answers:
            values = self.answers.values(boxes, score, scales, self.reward.needs_labels, rows)
            potential = self._state(self.reward.potential(values.worth_with, values.best_f1()))
            self._values = values
        else:
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
        for name in ("tokens", "words", "proposal_features"):
            if name in parts:
                out[name] = self._as_seen(pick(self._fixed[name]))
        if "glimpse_features" in parts:
            values = feature_glimpses(self.features.images.tables.like(boxes), pick(self.slots), boxes)
            out["glimpse_features"] = self._as_seen(box_ops.clamp(values, -1, 1), copy=False)
        if "proposals" in parts:
            values = relative(pick(self.proposals), boxes).reshape(count, -1)
            out["proposals"] = self._as_seen(values, copy=False)
        if "edge_profiles" in parts:
            values = edge_profiles(self.features.images.edge_tables.like(boxes), pick(self.slots), boxes)
            out["edge_profiles"] = self._as_seen(values, copy=False)
        if self.answers:
            out["answer"] = self._as_seen(self.answers.observe(pick(self.proposals), rows), copy=False)
        if self.looks:
            out["view"] = self._as_seen(self.looks.observe(boxes, rows), copy=False)
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

    def masks(self) -> np.ndarray:
        """Return which actions change something, see :meth:`ActionSet.masks`; an early trigger changes nothing."""
        masks = self.actions.masks(to_numpy(self.boxes), to_numpy(self.proposals))
        early = to_numpy(self.steps) + 1 < self.min_steps
        masks[early, self.actions.trigger_column] = False
        if self.looks:
            masks[:, self.actions.look_column] = self.looks.is_new(self.boxes, self.query)
        if self.answers:
            record, nothing = self.actions.answer_columns
            masks[early, nothing] = False
            masks[to_numpy(self.answers.count) >= self.answers.capacity, record] = False
        return masks
