"""A trained agent as a grounder: it plays one episode per query, in an environment built from queries alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.agents.checkpoint import env_of, find_agent, load_policy, read_about
from vg_gym.agents.rollout import Episode, play
from vg_gym.agents.seen import first_blind, seen_by_agent
from vg_gym.agents.verifier import keep_best, reads_proposals
from vg_gym.clip.encoder import load_clip
from vg_gym.config import PositiveInt, check_options, options_from
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.feature_bank import FeatureBank
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.proposals import QueryProposals
from vg_gym.features.score_maps import SCAN_SIZES
from vg_gym.registry.identity import mark_of
from vg_gym.storage.files import fingerprint
from vg_gym.types import Grounder, Prediction, Query

MEMORY = 0.25
"""GiB for tables of the images that were asked of last, 1,200 or so of the built-in data: the expressions of an image
follow each other."""


class AgentGrounder:
    """Plays episodes with a trained policy; there is no target box in the environment it drives.

    Without boxes to start from it starts as it was trained: where that was a mixture, as its first part that needs no
    label.

    Started from given boxes, an agent that reads proposals goes back to the given box where by its own verifier
    (:mod:`vg_gym.agents.verifier`) that is better than the one it ended with.

    Args:
        name: a run folder, a built-in agent, or ``hub:ORG/NAME``.
        clip: another CLIP than the one it was trained with (of the same width).
        device: torch device.
        batch_size: episodes at once.
        verify: whether it goes back to given boxes.
        revision: commit, tag or branch of an agent on the hub; default: its main branch.
        **options: environment options that override those of training, e.g. ``max_steps``.

    Raises:
        VGGymError: there is no such agent, or its weights do not fit.
    """

    def __init__(
        self,
        name: str,
        clip: str | None = None,
        device: str = "cpu",
        batch_size: PositiveInt = 64,
        verify: bool = True,
        revision: str | None = None,
        **options: Any,
    ):
        self.name, self.verify = f"agent:{name}", verify
        self._folder = find_agent(name, revision).resolve()  # runs/latest may point elsewhere before it is read
        self._about = read_about(self._folder)
        env = env_of(self._folder, self._about, options)
        # A training reward may need labels; what ends an episode, and what the policy sees, does not.
        trained = {
            "min_steps": 1,  # of agents from before there was the option
            **env,
            "reward": "clip",
            "features": "",
            "cache": False,
            "memory": MEMORY,
            "initial_box": first_blind(env["initial_box"]),
        }
        self.options = options_from(EnvOptions, {**trained, **options})
        self.clip = load_clip(clip or self._about["clip"], device)
        self.device, self.batch_size = device, batch_size
        self._bank: FeatureBank | None = None
        self._policy: Any = None

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the agent, its options, and what it stands on: CLIP, proposer, grounder of its first boxes."""
        o, first = self.options, self._first_boxes_from
        proposals = QueryProposals(o.proposals, o.num_proposals, self.clip).fingerprint if o.proposals else ""
        below = self.clip.fingerprint, proposals, mark_of(first) if first else ""
        return fingerprint(self._folder, o, self.verify, *below)

    @property
    def seen(self) -> dict[str, str]:
        """What the agent and the parts below it have seen of the truth."""
        return seen_by_agent(self._about, self.clip.name, self.options.proposals, self.options.initial_box)

    @property
    def moves(self) -> dict[str, Any]:
        """Options of ``action-oracle`` for the ceiling of its moves; it sees no proposals, so without the jumps."""
        o = self.options
        action = "fine-edges" if o.action == "jump-edges" else o.action
        steps = {"coarse": o.coarse, "fine": o.fine, "finest": o.finest}
        return {"action": action, "max_steps": o.max_steps, **steps}

    @cached_property
    def _first_boxes_from(self) -> Grounder | None:
        """The grounder that the agent starts from; None where it starts from a place."""
        name = self.options.initial_box
        return registry.grounder_with_clip(name, self.clip.name) if registry.is_grounder(name) else None

    def ground(self, queries: Sequence[Query], initial_boxes: np.ndarray | None = None) -> list[Prediction]:
        """Play each query once, from its pixel ``initial_boxes`` (N, 4) where given; see :class:`Grounder`.

        ``details``: ``trajectory`` (T+1, 4) in pixels, ``evaluations`` (boxes whose CLIP score was computed, by the
        score map and by the steps), ``triggered``.
        """
        if not queries:
            return []
        options = self.options
        if first := self._first_boxes_from:  # one for all batches, where an engine would build its own
            if initial_boxes is None:
                initial_boxes = np.stack([p.box for p in first.ground(queries)])
            options = replace(options, initial_box="full")
        engine = GroundingEngine(Episodes(queries), self.clip, self.batch_size, options, self._bank)
        self._bank = engine.features
        if self._policy is None:
            self._policy = load_policy(self._folder, self._about, engine, self.device)
        boxes = None if initial_boxes is None else _normalized(queries, initial_boxes)
        episodes = play(engine, self._act, range(len(queries)), boxes)
        if boxes is not None and self.verify and reads_proposals(self._policy):
            episodes = keep_best(self._policy, engine, episodes, boxes)
        return [_prediction(query, episode, self.clip.grid) for query, episode in zip(queries, episodes, strict=True)]

    def _act(self, observations: dict[str, np.ndarray]) -> np.ndarray:
        actions, _ = self._policy.predict(observations, deterministic=True)
        return actions


def _normalized(queries: Sequence[Query], boxes: np.ndarray) -> np.ndarray:
    """Pixel boxes (N, 4) of queries as normalised boxes inside their images."""
    normalized = [box_ops.normalize(box, q.image.size) for box, q in zip(boxes, queries, strict=True)]
    return box_ops.fit_inside(np.stack(normalized), min_side=0.01)


def _prediction(query: Query, episode: Episode, grid: int) -> Prediction:
    path = box_ops.denormalize(episode.trajectory, query.image.size)
    scanned = len(SCAN_SIZES) * grid**2  # boxes scored for the observation's score map
    details = {"trajectory": path, "evaluations": scanned + len(path), "triggered": episode.triggered}
    return Prediction(path[-1], episode.score, details)


def load_agent(name: str, **options: Any) -> AgentGrounder:
    """Factory of the registry: ``agent:NAME``."""
    check_options("agent", AgentGrounder, options, fixed=("self", "name"))
    return AgentGrounder(name, **options)
