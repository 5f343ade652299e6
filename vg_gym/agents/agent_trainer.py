"""The training loop of agents (``train_agent.py``): features, warm start, PPO or DQN, evaluation, images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from PIL import Image
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from tqdm import tqdm

from vg_gym.agents.budget import Budget
from vg_gym.agents.callbacks import BAR, EpisodeStats, Evaluation, evaluate
from vg_gym.agents.checkpoint import ALGORITHMS, find_agent, load_weights, policy_arguments, policy_of
from vg_gym.agents.cloning import clone_oracle, learn_choice
from vg_gym.agents.config import TrainConfig, completed, env_options
from vg_gym.agents.policy import lower_trigger_bias
from vg_gym.agents.rollout import draw_episode
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.agents.verifier import reads_proposals
from vg_gym.clip.encoder import load_clip
from vg_gym.config import options_from, save_config
from vg_gym.devices import pick_device, set_threads, usable_cores
from vg_gym.envs import rendering
from vg_gym.envs.engine import GroundingEngine, make_bank
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError, unknown
from vg_gym.registry import open_dataset
from vg_gym.storage.files import replacing
from vg_gym.types import GroundingDataset

TRAIN_SCENES = 4000
"""Scenes of RefShapes that the default run trains on; their features take 64 KB each."""
NO_LIMIT = 10**12
"""Passed to SB3 as ``total_timesteps``: the budget ends the run."""


class AgentTrainer:
    """One training run: ``AgentTrainer(config).run()``.

    Raises:
        VGGymError: an option is unknown or does not fit another; nothing to resume from.
    """

    def __init__(self, config: TrainConfig):
        self.config = config = completed(config)
        self.out = Path(config.out or f"runs/{config.dataset}-{config.algo}-{config.reward}-s{config.seed}")
        if config.algo not in ALGORITHMS:
            raise unknown("algorithm", config.algo, ALGORITHMS)
        self.threads = set_threads(config.threads)
        set_random_seed(config.seed)
        self.device = pick_device(config.device)
        self.clip = load_clip(config.clip, self.device)
        self.options = options_from(EnvOptions, env_options(config))
        self.budget = Budget(config.minutes - self._clone_minutes(), config.total_timesteps)
        self.env, self.validation = self._environments()
        self.model = self._model()

    def _clone_minutes(self) -> float:
        """Minutes of the warm start; a resumed run has had it."""
        return 0.0 if self.config.resume else self.config.clone.minutes or 0.0

    def _environments(self) -> tuple[GroundingVecEnv, GroundingEngine]:
        c = self.config
        train = self.open(c.train_split)
        val = self.open(c.eval_split)
        bank = make_bank(Episodes(train), self.clip, self.options)
        kept = [val[i] for i in range(min(c.eval_samples, len(val)))]
        queries = [*Episodes(train).queries(), *Episodes(kept).queries()]
        bank.prepare(queries, c.cache, progress=True)
        engine = GroundingEngine(Episodes(train), self.clip, c.num_envs, self.options, bank)
        engine.initial_boxes.prepare(Episodes(train).queries(), c.cache, progress=True)
        validation = GroundingEngine(Episodes(kept), self.clip, min(64, len(kept)), self.options, bank)
        validation.initial_boxes.prepare(Episodes(kept).queries(), c.cache, progress=True)
        return GroundingVecEnv(engine, c.seed), validation

    def open(self, split: str) -> GroundingDataset:
        """A split of the run's data set; ``dataset_options`` count for the training split."""
        c = self.config
        options = dict(c.dataset_options) if split == c.train_split else {}
        if split == c.train_split and c.dataset.startswith("refshapes"):
            options.setdefault("scenes", TRAIN_SCENES)
        return open_dataset(c.dataset, split, c.root, **options)

    def _model(self) -> BaseAlgorithm:
        c = self.config
        common: dict[str, Any] = {
            "policy": policy_of(c.algo),
            "env": self.env,
            "learning_rate": lambda _: c.learning_rate * (1 - 0.95 * self.budget.progress()),
            "gamma": c.gamma,
            "batch_size": c.batch_size,
            "policy_kwargs": policy_arguments(c.algo, c.width),
            "seed": c.seed,
            "device": self.device,
        }
        model = self._ppo(common) if c.algo == "ppo" else self._dqn(common)
        if c.init_from:
            load_weights(model.policy, find_agent(c.init_from))
        return model

    def _ppo(self, common: dict[str, Any]) -> PPO:
        c = self.config
        model = PPO(
            **common,
            n_steps=c.n_steps,
            n_epochs=c.n_epochs,
            gae_lambda=c.gae_lambda,
            ent_coef=c.ent_coef,
            clip_range=c.clip_range,
            max_grad_norm=0.5,
        )
        lower_trigger_bias(model.policy, self.env.engine.actions)
        return model

    def _dqn(self, common: dict[str, Any]) -> DQN:
        c = self.config
        if not isinstance(self.env.action_space, spaces.Discrete):
            raise VGGymError(f"algo=dqn needs a Discrete action set, and action={c.action} is not: use action=edges")
        return DQN(**common, buffer_size=c.buffer_size, learning_starts=2000, train_freq=4)

    def run(self) -> dict[str, float]:
        """Warm start, learn, evaluate, draw; returns the last validation means.

        Raises:
            VGGymError: after Ctrl-C, once all is saved, with how to go on; or there is nothing to resume from.
        """
        c = self.config
        self.out.mkdir(parents=True, exist_ok=True)
        self.model.set_logger(configure(str(self.out), ["tensorboard"]))
        about = {"algo": c.algo, "width": c.width, "clip": c.clip, "dataset": c.dataset, "seed": c.seed,
                 "env": env_options(c)}  # fmt: skip
        evaluation = Evaluation(self.validation, c.eval_samples, self.out, about, c.eval_every)
        evaluation.init_callback(self.model)
        if c.resume:
            self._restore(evaluation)
        save_config(c, self.out / "config.yaml")
        _point_latest(self.out)
        tqdm.write(f"{self.out}: {c.algo} on {c.dataset}, reward={c.reward}, {self._size()}")
        try:
            if self._clone_minutes() > 0:
                self._warm_start()
                evaluation.run()
            self.budget.start()
            callbacks = [EpisodeStats(self.budget), evaluation]
            self.model.learn(NO_LIMIT, callbacks, reset_num_timesteps=not c.resume)
        except KeyboardInterrupt:
            evaluation.run()
            raise VGGymError(f"interrupted; saved in {self.out}/last. Go on with: resume=true out={self.out}") from None
        means = evaluation.run()
        self._contact_sheet()
        return means

    def _size(self) -> str:
        """Environments, device, threads, and the memory of what PPO or DQN keeps."""
        parts = self.env.engine.observation_space.values()
        row = sum(np.dtype(part.dtype).itemsize * int(np.prod(part.shape or ())) for part in parts)
        c = self.config
        kept = 2 * c.buffer_size if c.algo == "dqn" else c.n_steps * c.num_envs
        where = self.device if self.device != "cpu" else f"{self.threads} threads on {usable_cores()} cores (threads=N)"
        return f"{c.num_envs} environments, {where}, {row * kept / 2**20:,.0f} MiB of observations"

    def _restore(self, evaluation: Evaluation) -> None:
        """Weights, optimiser, step count and best return of ``OUT/last``."""
        path = self.out / "last" / "state.pt"
        if not path.is_file():
            raise VGGymError(f"nothing to resume: no {path}; leave resume out, or name the run with out=")
        load_weights(self.model.policy, self.out / "last")
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.policy.optimizer.load_state_dict(state["optimizer"])
        self.model.num_timesteps = int(state["steps"])
        evaluation.restore()

    def _warm_start(self) -> None:
        model = self.model
        if not isinstance(model, OnPolicyAlgorithm):
            raise VGGymError("clone.minutes needs algo=ppo; set clone.minutes=0 for dqn")
        if not self.env.engine.episodes.labeled:
            raise VGGymError("clone.minutes needs box labels; set clone.minutes=0")
        clone, minutes = self.config.clone, self._clone_minutes()
        choice = clone.choice * minutes if reads_proposals(model.policy) else 0.0
        if choice > 0:
            with _progress("learn choice") as report:
                learn_choice(model, self.env, clone, choice, report)
        if minutes > choice:
            with _progress("clone oracle") as report:
                clone_oracle(model, self.env, clone, minutes - choice, report)

    def _contact_sheet(self, count: int = 24) -> None:
        """Draw the last policy on the first validation episodes: ``trajectories.png``."""
        _, episodes = evaluate(self.validation, self.model.policy, count)
        frames = [draw_episode(self.validation.episodes, episode, 256) for episode in episodes]
        with replacing(self.out / "trajectories.png") as part:
            Image.fromarray(rendering.contact_sheet(frames, 6)).save(part, format="PNG")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar, and what tells it of progress."""
    with tqdm(total=100, desc=what, bar_format=BAR) as bar:

        def report(values: dict[str, Any]) -> None:
            bar.n = round(100 * values.pop("progress"), 1)
            bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})

        yield report


def _point_latest(out: Path) -> None:
    """Make ``latest`` beside the run point to it."""
    link = out.parent / "latest"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(out.name, target_is_directory=True)
