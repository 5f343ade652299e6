"""Training of agents (``train_agent.py``): features, warm start, PPO or DQN, evaluation, images."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from PIL import Image
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import configure
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import set_random_seed
from tqdm import tqdm

from vg_gym.agents.budget import Budget
from vg_gym.agents.callbacks import (
    STATS_EPISODES,
    EpisodeStats,
    Evaluation,
    TruncationValues,
    evaluate,
    tensorboard_writer,
)
from vg_gym.agents.checkpoint import (
    ALGORITHMS,
    find_agent,
    load_state,
    load_weights,
    minutes_of,
    policy_arguments,
    policy_of,
    read_about,
    read_resumable,
)
from vg_gym.agents.cloning import clone_oracle, learn_choice
from vg_gym.agents.config import NUM_EVALUATIONS, TrainConfig, completed, env_options
from vg_gym.agents.plan import CHOICE, CLONING, FEATURES, LEARNING, announced, planned
from vg_gym.agents.policy import lower_trigger_bias
from vg_gym.agents.rollout import draw_episode
from vg_gym.agents.supervision import NO_BOXES, method_seen, seen_in_training
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.agents.verifier import reads_proposals
from vg_gym.clip.known_words import warn_of_dataset
from vg_gym.clip.loader import load_clip
from vg_gym.config import check_ranges, options_from, save_config
from vg_gym.data import drawing
from vg_gym.envs.banks import make_bank
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import Interrupted, VGGymError, unknown
from vg_gym.features.bank import FeatureBank
from vg_gym.fitting.origin import START, check_origin, weights_mark, write_origin
from vg_gym.fitting.resuming import check_options, command_to_resume
from vg_gym.fitting.splits import options_of_all_splits, splits_made_of
from vg_gym.fitting.tensorboard import describe_run
from vg_gym.registry import open_dataset
from vg_gym.registry.photographs import drawn_clips
from vg_gym.runtime.command_stages import label, percent_bar
from vg_gym.runtime.devices import check_memory, pick_device, usable_cores, use_threads
from vg_gym.runtime.interrupts import interrupted_with
from vg_gym.storage.files import replacing, writing
from vg_gym.storage.lazy_sequence import Chained
from vg_gym.storage.run_folder import CONFIG, claimed, clear
from vg_gym.types import GroundingDataset

UNLIMITED_STEPS = 10**12
"""Value of SB3's ``total_timesteps``, which never ends a run, because the budget does."""


METRICS = ("val/return", "val/iou", "val/acc@0.5", "rollout/ep_rew_mean", "time/fps")
"""Tags that TensorBoard shows beside the hyperparameters of a run."""


class AgentTrainer:
    """A training run: ``AgentTrainer(config).run()``.

    Raises:
        VGGymError: an option is unknown, out of range or does not fit another; a split does not exist; another process
            writes to the folder of the run; a resumed run has options that may not change, or other data; or the run
            needs more memory than the machine has.
        Interrupted: the run was interrupted while features were computed.
    """

    def __init__(self, config: TrainConfig):
        check_ranges(config)
        self.config = config = completed(config)
        self.out = config.folder()
        if config.algo not in ALGORITHMS:
            raise unknown("algorithm", config.algo, ALGORITHMS)
        options = options_from(EnvOptions, env_options(config))
        options.action_set(), options.potential()  # a mistake is an error before the data are opened
        with ExitStack() as folder:
            folder.enter_context(claimed(self.out, config.resume, config.fresh, command_to_resume(config)))
            for line in check_options(config) if config.resume else ():
                tqdm.write(line)
            self._prepare(config)
            self._folder = folder.pop_all()  # stays claimed until the end of the run

    def _prepare(self, config: TrainConfig) -> None:
        """Load data and CLIP, compute features, and build environments and model."""
        self.threads = use_threads(config.threads)
        set_random_seed(config.seed)
        self.device = pick_device(config.device)
        self.options = options_from(EnvOptions, env_options(config))
        self.resumed: dict[str, Any] = read_resumable(self.out / "last") if config.resume else {"warm_start": False}
        self._had_warm_start = self.resumed.get("warm_start", True)
        self.warm_start = (
            Budget(0.0) if self._had_warm_start else Budget(config.clone.minutes or 0.0, config.clone.steps)
        )
        spent = minutes_of(self.out / "last") if config.resume else 0.0
        minutes = (config.minutes or 0.0) - (config.clone.minutes or 0.0)
        self.budget = Budget(minutes, config.total_timesteps, spent)
        with interrupted_with("interrupted before the first step; what was computed is kept: the same command resumes"):
            self.env, self.validation = self._environments()
            self.model = self._model()

    def _environments(self) -> tuple[GroundingVecEnv, GroundingEngine]:
        c = self.config
        train = self.open(c.train_split)
        val = self.open(c.eval_split)
        if c.test_samples:
            self.open(c.test_split)  # a mistake is an error before training, not after it
        episodes = Episodes(train, c.targets)
        self.options.potential(episodes.labeled)  # a mistake is an error before weights are downloaded
        self.clip = load_clip(c.clip, self.device)
        warn_of_dataset(drawn_clips(c.clip, c.dataset), c.dataset, train)
        bank = make_bank(episodes, self.clip, self.options)
        items = Episodes(val, c.targets).items
        samples = [items[i] for i in range(min(c.eval_samples, len(items)))]
        self._compare_origin(train, samples)
        engine = GroundingEngine(episodes, self.clip, c.num_envs, self.options, bank)
        self._check_memory(engine)
        queries = engine.episodes.queries()
        evaluated = Episodes(samples, c.targets)
        expressions, chooses = len(queries) + len(samples), bool(self.options.proposals)
        _warn_of_memory(bank, expressions, c.memory)
        self.stages = planned(c, expressions, chooses, self._had_warm_start, self.budget.spent)
        for line in announced(c, self.stages):
            tqdm.write(line)
        with self.stages.running(FEATURES):
            bank.prepare(Chained([queries, evaluated.queries()]), c.cache, progress=True)
            engine.initial_boxes.prepare(queries, c.cache, progress=True)
            validation = GroundingEngine(evaluated, self.clip, min(64, len(samples)), self.options, bank)
            validation.initial_boxes.prepare(evaluated.queries(), c.cache, progress=True)
        return GroundingVecEnv(engine, c.seed), validation

    def _compare_origin(self, train: GroundingDataset, validation: Sequence[Any]) -> None:
        """Raise an error if a run is resumed with other data or another CLIP; other initial weights are a warning."""
        clip = f"{self.config.clip}, content {self.clip.fingerprint[:12]}"
        self.made_of = {**splits_made_of(train, validation), "CLIP": clip}
        with (
            suppress(VGGymError) if self.config.resume else nullcontext()
        ):  # a resumed run may lack its initial weights
            if self.config.init_from:
                self.made_of[START] = weights_mark(find_agent(self.config.init_from))
        if self.config.resume:
            check_origin(self.out, self.made_of)

    def open(self, split: str) -> GroundingDataset:
        """Open a split of the run's data set; options that are not valid for all splits apply to the training split."""
        c = self.config
        options = dict(c.dataset_options)
        if split != c.train_split:
            options = options_of_all_splits(c.dataset, options)
        return open_dataset(c.dataset, split, c.root, **options)

    def _model(self) -> BaseAlgorithm:
        c = self.config
        common: dict[str, Any] = {
            "policy": policy_of(c.algo),
            "env": self.env,
            "learning_rate": lambda _: c.learning_rate * (1 - 0.95 * self.budget.progress()),
            "gamma": c.gamma,
            "stats_window_size": STATS_EPISODES,
            "batch_size": c.batch_size,
            "policy_kwargs": policy_arguments(c.algo, c.width),
            "seed": c.seed,
            "device": self.device,
        }
        model = self._ppo(common) if c.algo == "ppo" else self._dqn(common)
        if c.init_from and not c.resume:
            load_weights(model.policy, find_agent(c.init_from))
        return model

    def _ppo(self, common: dict[str, Any]) -> PPO:
        c = self.config
        if c.n_steps * c.num_envs < 2:
            raise VGGymError("PPO needs several steps an update, and n_steps=1 num_envs=1 give one: raise either")
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
        model = DQN(**common, buffer_size=c.buffer_size, learning_starts=2000, train_freq=4)
        # SB3 measures progress against NO_LIMIT steps, so that exploration would never end.
        exploration = model.exploration_schedule
        model.exploration_schedule = lambda _: exploration(1 - self.budget.progress())
        return model

    def run(self) -> dict[str, float]:
        """Warm start, learn, evaluate, draw, and return the last validation means.

        Raises:
            Interrupted: Ctrl-C or SIGTERM ended the run and all is saved; the message names the command that resumes.
            CannotWrite: the disk is full, or the folder of the run is not writable.
            VGGymError: ``resume`` is set and the run does not exist.
        """
        with self._folder:
            return self._begin()

    def _begin(self) -> dict[str, float]:
        c = self.config
        if c.resume:
            self._resume()
        if c.fresh:
            clear(self.out)
        save_config(replace(c, resume=False, fresh=False, out=c.out and str(self.out)), self.out / CONFIG)
        write_origin(self.out, self.made_of)
        with writing(self.out):
            self.model.set_logger(configure(str(self.out), ["tensorboard"]))
            _point_latest(self.out)
        if self._is_finished():
            return dict(self.resumed["val"])
        evaluation = self._evaluation()
        evaluation.init_callback(self.model)
        tqdm.write(self._size())
        try:
            with writing(self.out):
                return self._run(evaluation)
        except KeyboardInterrupt:
            evaluation.save_last()
            message = f"interrupted; saved in {self.out}/last. Resume with: {command_to_resume(c)}"
            raise Interrupted(message) from None

    def _resume(self) -> None:
        """Load weights and counts from ``last/``; episodes and actions continue with new random numbers."""
        model = self.model
        load_state(model, self.out / "last")
        self.budget.taken = model.num_timesteps
        model.set_random_seed(
            int(np.random.SeedSequence([self.config.seed, model.num_timesteps]).generate_state(1)[0] >> 1)
        )
        if isinstance(model, DQN):
            model.learning_starts += model.num_timesteps  # its replay buffer is empty again

    def _evaluation(self) -> Evaluation:
        c = self.config
        about = {"algo": c.algo, "width": c.width, "clip": c.clip, "dataset": c.dataset, "seed": c.seed,
                 "seen": self._seen(), "env": env_options(c),
                 "warm_start": self.warm_start.progress() == 1}  # fmt: skip
        every = 1 / NUM_EVALUATIONS if self.budget.steps is not None else c.eval_every / max(self.budget.minutes, 1e-9)
        best = self._best_return()
        return Evaluation(self.validation, c.eval_samples, self.out, about, self.budget, every, best)

    def _is_finished(self) -> bool:
        """Return True if a resumed run is complete, and print that it is."""
        c, drawn = self.config, (self.out / "trajectories.png").is_file()
        self.finished = c.resume and drawn and "val" in self.resumed
        self.finished &= self.warm_start.progress() == 1 and self.budget.progress() == 1
        if self.finished:
            measure = "minutes" if c.total_timesteps is None else "total_timesteps"
            size = f"{self.model.num_timesteps:,} steps, {measure}={getattr(c, measure):g}"
            longer = f"{command_to_resume(c)} {measure}={2 * getattr(c, measure):g}"
            tqdm.write(f"{self.out} is finished ({size}); to train it longer: {longer}")
        return self.finished

    def _best_return(self) -> float | None:
        """Return the mean return of the agent in ``best/``, which may be newer than ``last/`` if a run was killed."""
        if not self.config.resume or not (self.out / "best").is_dir():
            return None
        returns = (self.resumed.get("best"), read_about(self.out / "best").get("val", {}).get("return"))
        return max((value for value in returns if isinstance(value, (int, float))), default=None)

    def _seen(self) -> str:
        """Return the kind of annotation that the agent has seen, including the agent from which it starts."""
        c = self.config
        before = method_seen(read_about(find_agent(c.init_from))) if c.init_from else NO_BOXES
        return seen_in_training(c.reward, c.initial_box, bool(c.clone.minutes or c.clone.steps), before)

    def _run(self, evaluation: Evaluation) -> dict[str, float]:
        if writer := tensorboard_writer(self.model.logger):
            describe_run(writer, self.config, METRICS)
        if self.warm_start.progress() < 1:
            if self.config.resume:
                tqdm.write("the warm start was cut off, and begins again with the weights that it had")
            self._warm_start()
            evaluation.about["warm_start"] = True
            evaluation.run()
        self.budget.start()
        with self.stages.running(LEARNING), closing(EpisodeStats(self.budget)) as stats:
            callbacks = [stats, evaluation, TruncationValues()]
            self.model.learn(UNLIMITED_STEPS, callbacks, reset_num_timesteps=not self.config.resume)
        means = evaluation.run()
        self._contact_sheet()
        return means

    def _size(self) -> str:
        """Describe the environments, the device, the threads, and the memory of PPO's rollouts or DQN's buffer."""
        c, mebibytes = self.config, self._buffer_bytes(self.env.engine) / 2**20
        threads = f"{self.threads} threads on {usable_cores()} cores (threads=N)"
        where = threads if self.device == "cpu" else self.device
        return f"{c.num_envs} environments, {where}, {mebibytes:,.0f} MiB of observations"

    def _buffer_bytes(self, engine: GroundingEngine) -> int:
        """Return the bytes of the observations in PPO's rollouts or DQN's replay buffer."""
        c = self.config
        return engine.row_bytes * (2 * c.buffer_size if c.algo == "dqn" else c.n_steps * c.num_envs)

    def _check_memory(self, engine: GroundingEngine) -> None:
        c = self.config
        replay, rollout = f"buffer_size={c.buffer_size:,}", f"num_envs={c.num_envs:,} n_steps={c.n_steps:,}"
        check_memory(replay if c.algo == "dqn" else rollout, self._buffer_bytes(engine), "lower it")
        if self.warm_start.progress() < 1:
            size = c.clone.buffer_size * engine.row_bytes
            check_memory(f"clone.buffer_size={c.clone.buffer_size:,}", size, "lower it, or clone.minutes=0")

    def _warm_start(self) -> None:
        model = self.model
        if not isinstance(model, OnPolicyAlgorithm):
            raise VGGymError("a warm start needs algo=ppo; set clone.minutes=0 for dqn")
        if not self.env.engine.episodes.labeled:
            raise VGGymError("a warm start needs box labels; set clone.minutes=0")
        clone = self.config.clone
        share = clone.choice if reads_proposals(model.policy) else 0.0
        choice, oracle = self.warm_start.part(share), self.warm_start.part(1 - share)
        if choice.progress() < 1:
            with self.stages.running(CHOICE), _progress("choice") as report:
                learn_choice(model, self.env, clone, choice, report)
        if oracle.progress() < 1:
            with self.stages.running(CLONING), _progress("cloning") as report:
                clone_oracle(model, self.env, clone, oracle, report)

    def _contact_sheet(self, count: int = 24) -> None:
        """Draw episodes of the last policy on the first validation samples: ``trajectories.png``."""
        _, episodes = evaluate(self.validation, self.model.policy, count)
        frames = [draw_episode(self.validation.episodes, episode, 256) for episode in episodes]
        with replacing(self.out / "trajectories.png") as part:
            Image.fromarray(drawing.contact_sheet(frames, 6)).save(part, format="PNG")


def _warn_of_memory(bank: FeatureBank, expressions: int, memory: float) -> None:
    """Warn if the features of the expressions do not stay in memory: reading them again makes a training slow."""
    if expressions > bank.capacity:
        warnings.warn(
            f"memory={memory:g} (GiB) holds the features of {bank.capacity:,} of {expressions:,} expressions, and the "
            f"others are read again when they are met; memory={math.ceil(bank.needed_memory(expressions))} holds all",
            stacklevel=2,
        )


@contextmanager
def _progress(description: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show a progress bar, and yield the function that updates it."""
    with tqdm(total=100, desc=label(description), bar_format=percent_bar()) as bar:

        def report(values: dict[str, Any]) -> None:
            share = values.pop("progress")
            bar.n = round(100 * share, 1)
            bar.set_description(label(description, share), refresh=False)
            bar.set_postfix({k: f"{v:.3f}" for k, v in values.items()})

        yield report


def _point_latest(out: Path) -> None:
    """Point the link ``latest`` beside the run to it."""
    link = out.parent / "latest"
    if link.is_symlink() or not link.exists():
        link.unlink(missing_ok=True)
        link.symlink_to(out.name, target_is_directory=True)
