"""A trained agent as a grounder: it plays one episode per query, in an environment that has only queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.agents.checkpoint import env_of, find_agent, load_policy, read_about
from vg_gym.agents.presence import Presence
from vg_gym.agents.rollout import Episode, play
from vg_gym.agents.supervision import first_blind, seen_by_agent
from vg_gym.agents.verifier import keep_best, reads_proposals
from vg_gym.clip.loader import load_clip
from vg_gym.config import PositiveInt, check_options, options_from
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.features.bank import FeatureBank
from vg_gym.features.query_proposals import QueryProposals
from vg_gym.features.score_maps import SCAN_SIZES
from vg_gym.registry.identity import mark_of
from vg_gym.storage.files import fingerprint
from vg_gym.types import Grounder, Prediction, Query, best_boxes

MEMORY_GIB = 0.25
"""Memory for tables of recent images in GiB, which holds about 1,200 of the built-in data; the expressions of an image
follow each other."""


class AgentGrounder:
    """Grounder that plays episodes with a trained policy in an environment without target boxes.

    Without initial boxes it starts as in training. If it was trained on a mixture of sources, it starts from the first
    source that needs no label.

    With initial boxes, an agent that reads proposals returns to the initial box if its verifier
    (:mod:`vg_gym.agents.verifier`) prefers it to the one box of its answer.

    An agent trained with ``targets="any"`` answers with all boxes that it recorded, which may be none. Its score is the
    probability that something is meant: that of not saying "nothing more" at the start.

    Args:
        name: a run folder, a built-in agent, or ``hub:ORG/NAME``.
        clip: CLIP that replaces the one of training; it must have the same width.
        device: torch device.
        batch_size: number of parallel episodes.
        verify: whether the agent may return to initial boxes.
        compiled: whether the arithmetic of steps is compiled, which is faster for many queries. Without it the first
            answer comes seconds sooner, and scores may differ in the last bits.
        revision: commit, tag or branch of an agent on the hub; default: its main branch.
        **options: environment options that override those of training, e.g. ``max_steps``.

    Raises:
        VGGymError: the agent does not exist, or its weights do not fit.
    """

    def __init__(
        self,
        name: str,
        clip: str | None = None,
        device: str = "cpu",
        batch_size: PositiveInt = 64,
        verify: bool = True,
        compiled: bool = True,
        revision: str | None = None,
        **options: Any,
    ):
        self.name, self.verify = f"agent:{name}", verify
        self._folder = find_agent(name, revision).resolve()  # runs/latest may point elsewhere when files are read
        self._about = read_about(self._folder)
        env = env_of(self._folder, self._about, options)
        # A training reward may need labels, but neither the end of an episode nor the observation does.
        trained = {
            "min_steps": 1,  # default for agents that were saved before this option existed
            **env,
            "reward": "clip",
            "features": "",
            "cache": False,
            "memory": MEMORY_GIB,
            "initial_box": first_blind(env["initial_box"]),
        }
        self.options = options_from(EnvOptions, {**trained, **options})
        self.clip = load_clip(clip or self._about["clip"], device)
        self.device, self.batch_size = device, batch_size
        self._tensors = None if compiled else True
        self._bank: FeatureBank | None = None
        self._policy: Any = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the agent, its options, its CLIP, its proposer and the grounder of its initial boxes."""
        o, grounder = self.options, self._initial_grounder
        source = QueryProposals(o.proposals, o.num_proposals, self.clip, o.min_confidence) if o.proposals else None
        proposals = source.fingerprint if source else ""
        parts = self.clip.fingerprint, proposals, mark_of(grounder) if grounder else ""
        return fingerprint(self._folder, o, self.verify, *parts)

    @property
    def seen(self) -> dict[str, str]:
        """Kinds of annotation that the agent and its parts have seen."""
        return seen_by_agent(self._about, self.clip.name, self.options.proposals, self.options.initial_box)

    @property
    def moves(self) -> dict[str, Any]:
        """Options of ``action-oracle`` for the upper bound of its moves, without jumps, which the oracle cannot see."""
        o = self.options
        action = "fine-edges" if o.action == "jump-edges" else o.action
        steps = {"coarse": o.coarse, "fine": o.fine, "finest": o.finest}
        return {"action": action, "max_steps": o.max_steps, **steps}

    @cached_property
    def _initial_grounder(self) -> Grounder | None:
        """Grounder of the initial boxes; None if initial boxes come from another source."""
        name = self.options.initial_box
        return registry.grounder_with_clip(name, self.clip.name) if registry.is_grounder(name) else None

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Play each query once, from its initial box in pixels (N, 4) if there is one; see :class:`Grounder`.

        The ``details`` are ``trajectory`` (T+1, 4) in pixels, ``evaluations`` (number of boxes whose CLIP score was
        computed, by the score map and by the steps) and ``triggered``.
        """
        if not queries:
            return []
        options = self.options
        if grounder := self._initial_grounder:  # one grounder for all batches; an engine would build its own
            if initial_boxes is None:
                initial_boxes = best_boxes(grounder.ground(queries), queries)
            options = replace(options, initial_box="full")
        engine = GroundingEngine(Episodes(queries), self.clip, self.batch_size, options, self._bank, self._tensors)
        self._bank = engine.features
        if self._policy is None:
            self._policy = load_policy(self._folder, self._about, engine, self.device)
        boxes = None if initial_boxes is None else _normalized(queries, initial_boxes)
        presence = Presence(self._policy, engine.actions) if engine.answers else None
        episodes = play(engine, presence or self._act, range(len(queries)), boxes)
        if boxes is not None and self.verify and reads_proposals(self._policy):
            episodes = keep_best(self._policy, engine, episodes, boxes)
        scores = presence.at_start() if presence else [episode.score for episode in episodes]
        return [
            _prediction(query, episode, score, self.clip.grid)
            for query, episode, score in zip(queries, episodes, scores, strict=False)  # the last batch may be padded
        ]

    def _act(self, observations: dict[str, np.ndarray]) -> np.ndarray:
        actions, _ = self._policy.predict(observations, deterministic=True)
        return actions


def _normalized(queries: Sequence[Query], boxes: np.ndarray) -> np.ndarray:
    """Convert pixel boxes (N, 4) of queries to normalised boxes inside their images."""
    normalized = [box_ops.normalize(box, q.image.size) for box, q in zip(boxes, queries, strict=True)]
    return box_ops.fit_inside(np.stack(normalized), min_side=0.01)


def _prediction(query: Query, episode: Episode, score: float, grid: int) -> Prediction:
    path = box_ops.denormalize(episode.trajectory, query.image.size)
    scanned = len(SCAN_SIZES) * grid**2  # number of boxes that were scored for the score map
    details = {"trajectory": path, "evaluations": scanned + len(path), "triggered": episode.triggered}
    return Prediction(score=score, details=details, boxes=box_ops.denormalize(episode.boxes, query.image.size))


def load_agent(name: str, **options: Any) -> AgentGrounder:
    """Build ``agent:NAME`` for the registry."""
    check_options("agent", AgentGrounder, options, fixed=("self", "name"))
    return AgentGrounder(name, **options)
