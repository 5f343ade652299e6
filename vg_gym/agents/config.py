"""Options of ``train_agent.py``."""

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
from vg_gym.registry import DatasetSpec, dataset_spec, refuse_code
from vg_gym.registry.photographs import clip_for

TOTAL_MINUTES = 6
"""Minutes of a run with the defaults on two cores, from the command to the table; pages and ``--help`` say so, too."""
SCENES_PER_MINUTE, MIN_SCENES, MAX_SCENES = 400, 3000, 4000
"""Default number of scenes of RefShapes per minute of learning, with its bounds; features of a scene take 64 KB."""
SHORT_MINUTES, LONG_MINUTES = 3.0, 10.0
"""Default minutes of learning: on RefShapes with proposals and a warm start, and otherwise."""
WARM_START_SHARE = 0.5
"""Default share of a run that is spent on the warm start."""
STEPS_PER_MINIBATCH = 150
"""Default number of environment steps per minibatch of the warm start, if a run is measured in steps."""
NUM_EVALUATIONS = 5
"""Number of evaluations of a run that is measured in steps."""


@dataclass
class TrainConfig(EnvOptions):
    """Options of a training run, including those of the environment (:class:`~vg_gym.envs.options.EnvOptions`).

    The defaults train on the built-in data with IoU rewards, in 6 minutes on two cores.
    With ``reward=clip`` neither learning nor the choice of the best checkpoint depends on a box label. If the data have
    labels, they are read only to log the IoU.
    """

    RENAMED: ClassVar[dict[str, str]] = {
        "lr": "learning_rate", "steps": "total_timesteps", "rollout": "n_steps", "epochs": "n_epochs",
        "entropy": "ent_coef", "buffer": "buffer_size", "init": "init_from", "clone.lr": "clone.learning_rate",
        "clone.buffer": "clone.buffer_size",
    }  # fmt: skip
    """Names of options in earlier versions and their present names, which are SB3's."""
    TRAINS: ClassVar[str] = "agent"
    """Name of the training in ``vg-gym train agent``."""
    MAY_CHANGE: ClassVar[tuple[str, ...]] = (
        "minutes", "total_timesteps", "learning_rate", "eval_every", "device", "threads", "cache", "root", "features",
        "memory", "test_split", "test_samples",
    )  # fmt: skip
    """Options that may have other values when a run is resumed."""

    reward: str = "iou"
    """Potential of the reward: ``clip`` (needs no box label), ``iou``, ``clip+iou``."""
    step_cost: Price = 0.002
    """Price of every step; it is small because a last, fine move gains little."""
    action: str = "jump-edges"
    """Action set (:mod:`vg_gym.envs.actions`); ``multi-edges`` or ``fine-edges`` without proposals."""
    score: str = "relational"
    """CLIP score that is observed and, with ``reward=clip``, rewarded; use ``context`` without proposals."""
    proposals: str = "ssd"
    """Proposer whose boxes are observed; may be empty."""
    edge_profiles: bool = True
    """Also observe how strongly pixels change across each edge of the box."""
    min_steps: NonNegativeInt = 1
    """Number of the step from which the trigger counts. It counts from the first step, because training makes an
    untrained policy pull it rarely."""
    max_steps: PositiveInt = 8
    """Number of steps after which an episode is truncated."""
    image_pool: NonNegativeInt = 0
    """Number of images whose episodes are mixed before other images follow; 0 draws each episode from all images, which
    is fast because features are prepared."""

    # Data
    dataset: str = ""
    """Name of a data set; default: the one of ``features``, or ``refshapes`` without it."""
    root: str | None = None
    """Folder of a data set that is on disk; default: the one of ``features``."""
    dataset_options: dict[str, Any] = field(default_factory=dict)
    """Options of the training split, e.g. ``{scenes: 4000}``, the number of scenes of RefShapes. By default it has 400
    per minute of learning, but between 3,000 and 4,000."""
    plugins: str = ""
    """Comma-separated modules that register data sets, grounders or proposers."""
    clip: str = ""
    """Name of a CLIP (:func:`vg_gym.clip.load_clip`); default: the one of ``features``. Without it, that of
    the world for built-in data and ``ViT-B-32:openai`` for other data."""
    device: str = "auto"
    """Torch device of CLIP, features and policy; ``auto`` uses a GPU if there is one."""

    # Where and how long
    out: str = ""
    """Folder of the run; default ``runs/DATASET-ALGO-REWARD-sSEED``. ``runs/latest`` points to it."""
    minutes: NonNegativeFloat | None = None
    """Wall-clock budget of learning in minutes, which includes the warm start, but not the features before it and the
    table after it. Default: 3 for RefShapes with proposals and a warm start, otherwise 10."""
    total_timesteps: PositiveInt | None = None
    """Number of environment steps of learning after the warm start, in all environments together. It replaces
    ``minutes``: learning rates, warm start and evaluations are then measured in steps too, so that results do not
    depend on the speed of the machine. Two such runs with the same options and a given ``threads`` agree bit for bit on
    one machine."""
    resume: bool = False
    """Resume the run in ``out``: weights, moments, minutes and steps come from ``OUT/last``, options from
    ``OUT/config.yaml``. Episodes in progress are not kept. ``minutes``, ``total_timesteps``, ``learning_rate``,
    ``eval_every``, ``device``, ``threads``, ``test_split``, ``test_samples`` and places of files may be changed."""
    fresh: bool = False
    """Delete the files that another run left in ``out``; without this or ``resume``, such a folder is an error."""
    seed: Seed = 0
    """Seed of environments, initial weights and minibatches."""
    threads: Processes = 0
    """Number of CPU threads; with 0, the number of usable cores at the start, at most 8. Set 1 if other processes keep
    the cores busy."""

    # Algorithm
    algo: str = "ppo"
    """``ppo``, or ``dqn`` (needs a Discrete action set: ``action=edges``)."""
    num_envs: PositiveInt = 128
    """Number of parallel episodes."""
    learning_rate: NonNegativeFloat = 7e-4
    """Learning rate, which falls linearly to a twentieth over the run."""
    n_steps: PositiveInt = 16
    """PPO: number of steps per environment between updates."""
    batch_size: Annotated[int, Range(ge=2)] = 512
    """Number of steps in a minibatch."""
    n_epochs: PositiveInt = 4
    """PPO: number of passes over the steps of an update."""
    gamma: UnitInterval = 0.97
    """Discount factor."""
    gae_lambda: UnitInterval = 0.9
    """PPO: lambda of generalised advantage estimates."""
    ent_coef: NonNegativeFloat = 0.003
    """PPO: weight of the policy's entropy in the loss."""
    clip_range: PositiveFloat = 0.2
    """PPO: largest deviation from 1 of the ratio of new to old probabilities that counts."""
    width: Annotated[int, Range(ge=2)] = 192
    """Number of units of the policy's glimpse encoder; the other encoders have half as many."""
    buffer_size: PositiveInt = 50_000
    """DQN: capacity of the replay buffer in steps."""
    init_from: str = ""
    """Run or built-in agent (``refshapes``) whose policy is the start; empty for random weights."""
    clone: CloneConfig = field(default_factory=CloneConfig)
    """Warm start by cloning the greedy oracle, which needs labels; ``clone.minutes=0`` turns it off."""

    # Splits and evaluation
    train_split: str = "train"
    """Split of the training episodes."""
    eval_split: str = "val"
    """Split whose mean return chooses the best checkpoint."""
    eval_samples: PositiveInt = 400
    """Number of samples of that split, from the first one, that each evaluation plays."""
    eval_every: NonNegativeFloat = 2.0
    """Minutes between evaluations; a run measured in steps has five at equal distances."""
    test_split: str = "test"
    """Split of the table at the end."""
    test_samples: NonNegativeInt = 1000
    """Number of samples of that table; 0 means no table."""

    def completed(self) -> TrainConfig:
        """Return the options with those that follow from others (:func:`completed`)."""
        return completed(self)

    def folder(self) -> Path:
        """Return the folder of the run; ``runs/latest`` is resolved."""
        data = re.split("[/:]", self.dataset)[-1]
        path = Path(self.out or f"runs/{data}-{self.algo}-{self.reward}-s{self.seed}")
        return path.parent / path.readlink() if path.is_symlink() else path


def completed(config: TrainConfig) -> TrainConfig:
    """Fill in the data set, its root, its number of scenes, the CLIP, the minutes and the warm start.

    Unset names come from the feature store, if one is used.

    Raises:
        VGGymError: ``features`` is not a feature store.
    """
    named: dict[str, Any] = {"dataset": "refshapes", "root": None, "clip": ""}
    if config.features:
        manifest = FeatureStore(config.features).manifest
        if not config.dataset:
            remedy = f"give the option dataset={manifest.dataset}"
            refuse_code(DatasetSpec, manifest.dataset, f"{config.features}/manifest.json: dataset", remedy)
        named = {name: getattr(manifest, name) or value for name, value in named.items()}
    values = {name: getattr(config, name) or value for name, value in named.items()}
    values["clip"] = values["clip"] or clip_for(values["dataset"])
    config = replace(config, **cast(dict[str, Any], values))
    config = replace(config, minutes=_default_minutes(config) if config.minutes is None else config.minutes)
    options = {**_default_scenes(config), **config.dataset_options}
    return replace(config, clone=_completed_clone(config), dataset_options=options)


def _clones(config: TrainConfig) -> bool:
    return config.algo == "ppo" and config.reward != "clip"


def _is_refshapes(name: str) -> bool:
    return name.startswith("refshapes") and not dataset_spec(name).read_from_disk


def _default_minutes(config: TrainConfig) -> float:
    short = _is_refshapes(config.dataset) and config.proposals and _clones(config) and config.clone.minutes != 0
    return SHORT_MINUTES if short else LONG_MINUTES


def _default_scenes(config: TrainConfig) -> dict[str, int]:
    """Return the number of scenes as an option, so that a resumed run with other minutes has the same data."""
    if not _is_refshapes(config.dataset):
        return {}
    scenes = MAX_SCENES if config.total_timesteps is not None else round(SCENES_PER_MINUTE * (config.minutes or 0.0))
    return {"scenes": min(max(scenes, MIN_SCENES), MAX_SCENES)}


def _completed_clone(config: TrainConfig) -> CloneConfig:
    clone, steps = config.clone, config.total_timesteps
    if clone.minutes is not None or clone.steps is not None:
        return replace(clone, minutes=clone.minutes or 0.0)
    if steps is not None:
        return replace(clone, minutes=0.0, steps=steps // STEPS_PER_MINIBATCH if _clones(config) else 0)
    return replace(clone, minutes=WARM_START_SHARE * (config.minutes or 0.0) if _clones(config) else 0.0)


def env_options(config: TrainConfig) -> dict[str, Any]:
    """Return the options of a training config that belong to the environment."""
    return {f.name: getattr(config, f.name) for f in fields(EnvOptions)}
