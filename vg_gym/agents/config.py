"""Every option of ``train_agent.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

from vg_gym.agents.cloning import CloneConfig
from vg_gym.config import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Processes,
    Range,
    Seed,
    UnitInterval,
)
from vg_gym.envs.options import EnvOptions, Price
from vg_gym.features.store import FeatureStore
from vg_gym.registry import DatasetSpec, refuse_code

WARM_START = 0.5
"""Share of a run that the warm start takes by default."""
STEPS_PER_MINIBATCH = 150
"""Environment steps of a run measured in them for each minibatch of its warm start, by default."""
EVALUATIONS = 5
"""Of a run that is measured in steps."""


@dataclass
class TrainConfig(EnvOptions):
    """Options of a training run; those of the environment (:class:`~vg_gym.envs.options.EnvOptions`) included.

    The defaults train on the built-in data with IoU rewards, in a quarter of an hour on two cores.
    With ``reward=clip`` nothing that is learned depends on a box label, nor does the choice of the best checkpoint.
    Where the data have labels they are still read, to log IoU.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "lr": "learning_rate", "steps": "total_timesteps", "rollout": "n_steps", "epochs": "n_epochs",
        "entropy": "ent_coef", "buffer": "buffer_size", "init": "init_from", "clone.lr": "clone.learning_rate",
        "clone.buffer": "clone.buffer_size",
    }  # fmt: skip
    """Names of options before they were those of SB3 -> today's."""
    TRAINS: ClassVar[str] = "agent"
    """``vg-gym train agent`` runs it."""
    MAY_CHANGE: ClassVar[tuple[str, ...]] = (
        "minutes", "total_timesteps", "learning_rate", "eval_every", "device", "threads", "cache", "root", "features",
        "memory", "test_split", "test_samples",
    )  # fmt: skip
    """Options that a run may go on with other values of."""

    reward: str = "iou"
    """Potential of the reward: ``clip`` (needs no box label), ``iou``, ``clip+iou``."""
    step_cost: Price = 0.002
    """Price of every step; what a last, fine move gains is little."""
    action: str = "jump-edges"
    """Action set (:mod:`vg_gym.envs.actions`); ``multi-edges`` or ``fine-edges`` without proposals."""
    score: str = "relational"
    """CLIP score, observed and, with ``reward=clip``, rewarded; ``context`` without proposals."""
    proposals: str = "ssd"
    """Proposer whose boxes are observed; empty for none."""
    edge_profiles: bool = True
    """Also observe how strongly pixels change across each edge of the box."""
    min_steps: NonNegativeInt = 1
    """The trigger counts from the first step on: training makes an untrained policy pull it rarely."""
    max_steps: PositiveInt = 8
    """Steps after which an episode is truncated."""
    image_pool: NonNegativeInt = 0
    """Each episode is drawn from all: features are prepared."""

    # Data
    dataset: str = ""
    """Name of a data set; default: that of ``features``; without it, ``refshapes``."""
    root: str | None = None
    """Folder of a data set that is on disk; default as for ``dataset``."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``{scenes: 4000}`` for RefShapes."""
    plugins: str = ""
    """Modules, with commas between, that register data sets, grounders or proposers."""
    clip: str = ""
    """Name of a CLIP (:func:`vg_gym.clip.load_clip`); default as for ``dataset``."""
    device: str = "auto"
    """Torch device of CLIP, features and policy; ``auto``: a GPU where there is one."""

    # Where and how long
    out: str = ""
    """Folder of the run; default ``runs/DATASET-ALGO-REWARD-sSEED``. ``runs/latest`` points to it."""
    minutes: NonNegativeFloat = 10.0
    """Wall-clock budget of learning, the warm start included; features before it and evaluation after it are extra."""
    total_timesteps: PositiveInt | None = None
    """Environment steps of learning after the warm start, of all environments together. Given, the run is measured in
    steps in place of minutes, learning rates, warm start and evaluations included: its results do not depend on how
    fast the machine is. Two such runs with the same options, ``threads`` named, agree bit for bit on one machine."""
    resume: bool = False
    """Go on with the run in ``out``: weights, moments, minutes and steps taken come from ``OUT/last``, options from
    ``OUT/config.yaml``; episodes under way are not kept. ``minutes``, ``total_timesteps``, ``learning_rate``,
    ``eval_every``, ``device``, ``threads``, ``test_split``, ``test_samples`` and places of files may be others."""
    fresh: bool = False
    """Throw away what another run left in ``out``; without this or ``resume``, such a folder is refused."""
    seed: Seed = 0
    """Of environments, weights and minibatches."""
    threads: Processes = 0
    """CPU threads; 0: those of the usable cores that other processes leave idle, looked at again and again
    (:mod:`vg_gym.devices`)."""

    # Algorithm
    algo: str = "ppo"
    """``ppo``, or ``dqn`` (needs a Discrete action set: ``action=edges``)."""
    num_envs: PositiveInt = 128
    """Episodes played side by side."""
    learning_rate: NonNegativeFloat = 7e-4
    """Falls linearly to a twentieth over the run."""
    n_steps: PositiveInt = 16
    """PPO: steps per environment between updates."""
    batch_size: Annotated[int, Range(ge=2)] = 512
    """Steps of a minibatch."""
    n_epochs: PositiveInt = 4
    """PPO: passes over the steps of an update."""
    gamma: UnitInterval = 0.97
    """Discount factor."""
    gae_lambda: UnitInterval = 0.9
    """PPO: lambda of generalised advantage estimates."""
    ent_coef: NonNegativeFloat = 0.003
    """PPO: weight of the policy's entropy in the loss."""
    clip_range: PositiveFloat = 0.2
    """PPO: how far the ratio of new to old probabilities counts, from 1."""
    width: Annotated[int, Range(ge=2)] = 192
    """Units of the policy's glimpse encoder; the others have half of it."""
    buffer_size: PositiveInt = 50_000
    """DQN: steps in the replay buffer."""
    init_from: str = ""
    """Start from the policy of another run or of a built-in agent (``refshapes``)."""
    clone: CloneConfig = field(default_factory=CloneConfig)
    """Warm start by cloning the greedy oracle; needs labels, ``clone.minutes=0`` leaves it out."""

    # Splits and evaluation
    train_split: str = "train"
    """Split that episodes are drawn from."""
    eval_split: str = "val"
    """Split whose mean return chooses the best checkpoint."""
    eval_samples: PositiveInt = 400
    """The first samples of that split are played at each evaluation."""
    eval_every: NonNegativeFloat = 2.0
    """Minutes between evaluations; a run measured in steps has :data:`EVALUATIONS`, evenly."""
    test_split: str = "test"
    """Split of the table at the end."""
    test_samples: NonNegativeInt = 1000
    """Samples of that table (0: no table)."""

    def completed(self) -> TrainConfig:
        """The options with those that follow from others (:func:`completed`)."""
        return completed(self)

    def folder(self) -> Path:
        """Where the run is; of ``runs/latest``, what it points to."""
        data = re.split("[/:]", self.dataset)[-1]
        path = Path(self.out or f"runs/{data}-{self.algo}-{self.reward}-s{self.seed}")
        return path.parent / path.readlink() if path.is_symlink() else path


def completed(config: TrainConfig) -> TrainConfig:
    """The config with its data set, root and CLIP, which a feature store names where it does not, and its warm start.

    Raises:
        VGGymError: ``features`` is no feature store.
    """
    named: dict[str, Any] = {"dataset": "refshapes", "root": None, "clip": "refshapes"}
    if config.features:
        manifest = FeatureStore(config.features).manifest
        if not config.dataset:
            remedy = f"give the option dataset={manifest.dataset}"
            refuse_code(DatasetSpec, manifest.dataset, f"{config.features}/manifest.json: dataset", remedy)
        named = {name: getattr(manifest, name) or value for name, value in named.items()}
    given = {name: getattr(config, name) or value for name, value in named.items()}
    return replace(config, clone=_completed_clone(config), **cast(dict[str, Any], given))


def _completed_clone(config: TrainConfig) -> CloneConfig:
    clone, steps = config.clone, config.total_timesteps
    if clone.minutes is not None or clone.steps is not None:
        return replace(clone, minutes=clone.minutes or 0.0)
    clones = config.algo == "ppo" and config.reward != "clip"
    if steps is not None:
        return replace(clone, minutes=0.0, steps=steps // STEPS_PER_MINIBATCH if clones else 0)
    return replace(clone, minutes=WARM_START * config.minutes if clones else 0.0)


def env_options(config: TrainConfig) -> dict[str, Any]:
    """The part of a training config that belongs to the environment."""
    return {f.name: getattr(config, f.name) for f in fields(EnvOptions)}
