"""Every option of ``train_agent.py``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

from vg_gym.agents.cloning import CloneConfig
from vg_gym.envs.engine import EnvOptions
from vg_gym.features.store import FeatureStore


@dataclass
class TrainConfig(EnvOptions):
    """Options of a training run; those of the environment (:class:`~vg_gym.envs.engine.EnvOptions`) included.

    The defaults train PPO on the built-in data with IoU rewards in a quarter of an hour on two cores.
    ``reward=clip`` trains without any box label.
    """

    reward: str = "iou"

    # Data
    dataset: str = ""
    """Default: what ``features`` is of; without it, ``refshapes``."""
    root: str | None = None
    """Folder of a data set that is on disk; default as for ``dataset``."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``{scenes: 4000}`` for RefShapes."""
    clip: str = ""
    """Default as for ``dataset``."""
    device: str = "auto"
    cache: bool = True
    """Keep image features in the user's cache folder, for the next run."""

    # Where and how long
    out: str = ""
    """Folder of the run; default ``runs/DATASET-ALGO-REWARD-sSEED``. ``runs/latest`` points to it."""
    minutes: float = 10.0
    """Wall-clock budget of learning; features before it and evaluation after it are extra."""
    steps: int = 100_000_000
    """Environment steps at most."""
    resume: bool = False
    """Go on from ``OUT/last``."""
    seed: int = 0
    threads: int = 0
    """CPU threads; 0: the cores that this process may use and that are idle as it starts (:mod:`vg_gym.devices`)."""

    # Algorithm
    algo: str = "ppo"
    """``ppo``, or ``dqn`` (needs a Discrete action set: ``action=edges``)."""
    num_envs: int = 128
    lr: float = 7e-4
    """Falls linearly to a twentieth over the run."""
    rollout: int = 16
    """PPO: steps per environment between updates."""
    batch_size: int = 512
    epochs: int = 4
    gamma: float = 0.97
    gae_lambda: float = 0.9
    entropy: float = 0.003
    clip_range: float = 0.2
    width: int = 192
    """Units per encoder of the policy, and of its hidden layer."""
    buffer: int = 50_000
    """DQN: replay buffer."""
    init: str = ""
    """Start from the policy of another run or of a built-in agent (``refshapes``)."""
    clone: CloneConfig = field(default_factory=CloneConfig)
    """Warm start by cloning the greedy oracle (``clone.minutes=3``); needs labels."""

    # Splits and evaluation
    train_split: str = "train"
    eval_split: str = "val"
    eval_samples: int = 400
    eval_every: float = 2.0
    """Minutes between evaluations on the validation split."""
    test_split: str = "test"
    test_samples: int = 1000
    """Samples of the table at the end (0: no table)."""


def completed(config: TrainConfig) -> TrainConfig:
    """The config with its data set, root and CLIP, which a feature store names where the config does not.

    Raises:
        VGGymError: ``features`` is no feature store.
    """
    named: dict[str, Any] = {"dataset": "refshapes", "root": None, "clip": "refshapes"}
    if config.features:
        manifest = FeatureStore(config.features).manifest
        named = {name: getattr(manifest, name) or value for name, value in named.items()}
    given = {name: getattr(config, name) or value for name, value in named.items()}
    return replace(config, **cast(dict[str, Any], given))


def env_options(config: TrainConfig) -> dict[str, Any]:
    """The part of a training config that belongs to the environment."""
    return {f.name: getattr(config, f.name) for f in fields(EnvOptions)}
