"""The training loop of agents (``train_agent.py``): features, warm start, PPO or DQN, evaluation, pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from tqdm import tqdm

from vg_gym.agents.callbacks import BAR, EpisodeStats, Evaluation, evaluate
from vg_gym.agents.checkpoint import ALGORITHMS, find_agent, load_weights, policy_arguments
from vg_gym.agents.cloning import clone_oracle
from vg_gym.agents.config import TrainConfig, completed, env_options
from vg_gym.agents.policy import discourage_trigger
from vg_gym.agents.rollout import draw_episode
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.clip.encoder import load_clip
from vg_gym.config import options_from, save_config
from vg_gym.devices import pick_device, set_threads, usable_cores
from vg_gym.envs import rendering
from vg_gym.envs.engine import EnvOptions, GroundingEngine, open_bank
from vg_gym.envs.episodes import Episodes
from vg_gym.errors import VGGymError, unknown
from vg_gym.registry import open_dataset
from vg_gym.storage.files import replacing
from vg_gym.types import GroundingDataset

TRAIN_SCENES = 4000
"""Scenes of RefShapes that the default run trains on; their features take 64 KB each."""


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
        self.env, self.validation = self._environments()
        self.model = self._model()
        self.spent = 0.0
        self._started = time.monotonic()

    def _environments(self) -> tuple[GroundingVecEnv, GroundingEngine]:
        c = self.config
        train = self.open(c.train_split)
        val = self.open(c.eval_split)
        bank = open_bank(Episodes(train), self.clip, self.options)
        kept = [val[i] for i in range(min(c.eval_samples, len(val)))]
        queries = [*Episodes(train).queries(), *Episodes(kept).queries()]
        bank.prepare(queries, c.cache, progress=True)
        engine = GroundingEngine(Episodes(train), self.clip, c.num_envs, self.options, bank)
        engine.start.prepare(Episodes(train).queries(), c.cache, progress=True)
        validation = GroundingEngine(Episodes(kept), self.clip, min(64, len(kept)), self.options, bank)
        validation.start.prepare(Episodes(kept).queries(), c.cache, progress=True)
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
            "policy": "MultiInputPolicy",
            "env": self.env,
            "learning_rate": lambda _: c.lr * (1 - 0.95 * self.progress()),
            "gamma": c.gamma,
            "batch_size": c.batch_size,
            "policy_kwargs": policy_arguments(c.algo, c.width),
            "seed": c.seed,
            "device": self.device,
        }
        self._started, self.spent = time.monotonic(), 0.0
        if c.algo == "ppo":
            model: BaseAlgorithm = PPO(
                **common,
                n_steps=c.rollout,
                n_epochs=c.epochs,
                gae_lambda=c.gae_lambda,
                ent_coef=c.entropy,
                clip_range=c.clip_range,
                max_grad_norm=0.5,
            )
            discourage_trigger(model.policy, self.env.engine.actions)
        else:
            if c.action not in ("edges", "classic"):
                raise VGGymError(
                    f"algo=dqn needs a Discrete action set, and action={c.action} is not: use action=edges"
                )
            model = DQN(**common, buffer_size=c.buffer, learning_starts=2000, train_freq=4)
        if c.init:
            load_weights(model.policy, find_agent(c.init))
        return model

    def progress(self) -> float:
        """How much of the run's budget is used, in [0, 1]: time or steps, whichever is further."""
        minutes = self.spent + (time.monotonic() - self._started) / 60
        steps = self.model.num_timesteps / self.config.steps if hasattr(self, "model") else 0.0
        return min(1.0, max(minutes / max(self.config.minutes, 1e-9), steps))

    def run(self) -> dict[str, float]:
        """Warm start, learn, evaluate, draw; returns the last validation means. Ctrl-C saves and says how to go on."""
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
            if c.clone.minutes > 0 and not c.resume:
                self._warm_start()
                evaluation.run()
            self._started = time.monotonic()
            self.model.learn(10**12, [EpisodeStats(self.progress), evaluation], reset_num_timesteps=not c.resume)
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
        kept = 2 * self.config.buffer if self.config.algo == "dqn" else self.config.rollout * self.config.num_envs
        where = self.device if self.device != "cpu" else f"{self.threads} threads on {usable_cores()} cores (threads=N)"
        return f"{self.config.num_envs} environments, {where}, {row * kept / 2**20:,.0f} MiB of observations"

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
        if not self.env.engine.episodes.labelled:
            raise VGGymError("clone.minutes needs box labels; set clone.minutes=0")
        bar = tqdm(total=100, desc="clone oracle", bar_format=BAR)

        def report(values: dict[str, Any]) -> None:
            bar.n = round(100 * values.pop("progress"), 1)
            bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})

        clone_oracle(model, self.env, self.config.clone, report)
        bar.close()

    def _contact_sheet(self, count: int = 24) -> None:
        """``trajectories.png``: the last policy on the first validation episodes."""
        _, episodes = evaluate(self.validation, self.model.policy, count)
        frames = [draw_episode(self.validation.episodes, episode, 256) for episode in episodes]
        with replacing(self.out / "trajectories.png") as part:
            Image.fromarray(rendering.contact_sheet(frames, 6)).save(part, format="PNG")


def _point_latest(out: Path) -> None:
    """Make ``latest`` beside the run point to it."""
    link = out.parent / "latest"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(out.name, target_is_directory=True)
