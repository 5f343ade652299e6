"""Stages of a run of ``train_agent.py`` with the minutes that they are expected to take."""

from __future__ import annotations

from vg_gym.agents.config import TrainConfig
from vg_gym.registry.photographs import drawn_clips, world_of
from vg_gym.runtime.command_stages import Stage, Stages
from vg_gym.runtime.devices import usable_cores

FEATURES, CHOICE, CLONING, LEARNING, TABLE = "features", "choice", "cloning", "learning", "table"
"""Names of the stages."""
FEATURE_CORE_SECONDS = {"refshapes": 0.014, "refscenes": 0.03}
"""World -> seconds of one core for drawing, features, proposals and edges of an expression.
Other data count as RefShapes."""
TABLE_CORE_SECONDS = 0.05
"""Seconds for the rows of an expression in the table; one core does most of the work."""
START_MINUTES = 0.2
"""Minutes of the imports and of the drawings at the end, which belong to the first and the last stage."""


def planned(config: TrainConfig, expressions: int, chooses: bool, begun: bool, spent: float = 0.0) -> Stages:
    """Return the stages of a run.

    Args:
        config: complete options of the run.
        expressions: number of expressions whose features are needed.
        chooses: whether a policy that reads proposals learns to choose one.
        begun: whether the run is resumed after its warm start.
        spent: minutes of learning after the warm start that an earlier part of the run took.
    """
    has_estimates = bool(drawn_clips(config.clip)) and not config.features and config.device != "cuda"
    each = FEATURE_CORE_SECONDS[world_of(config.dataset) or "refshapes"]
    seconds = each * expressions / usable_cores()
    about = f"of {expressions:,} expressions; none are computed again that are in the cache"
    stages = [Stage(FEATURES, about, START_MINUTES + seconds / 60 if has_estimates else None)]
    warm = None if config.clone.steps is not None else config.clone.minutes or 0.0
    if not begun and (warm or config.clone.steps):
        share = config.clone.choice if chooses else 0.0
        parts = (
            (CHOICE, "supervised: which proposal is meant", share),
            (CLONING, "supervised: the oracle's moves", 1 - share),
        )
        stages += [Stage(name, text, None if warm is None else part * warm) for name, text, part in parts if part]
    minutes = None if config.total_timesteps is not None else max(0.0, (config.minutes or 0.0) - (warm or 0.0) - spent)
    stages.append(Stage(LEARNING, f"{config.algo}, reward={config.reward}", minutes))
    if config.test_samples:
        about = f"{config.test_samples:,} expressions of {config.test_split}, with baselines"
        table = TABLE_CORE_SECONDS * config.test_samples / 60 if has_estimates else None
        stages.append(Stage(TABLE, about, table))
    return Stages(stages)


def announced(config: TrainConfig, stages: Stages) -> list[str]:
    """Return the lines that tell what a run will do."""
    total = "" if stages.minutes is None else f", about {stages.minutes:.0f} min"
    head = f"{config.folder()}: {config.algo} on {config.dataset}, reward={config.reward}{total}"
    return [head, *stages.lines(), *([supervised(config)] if supervised(config) else [])]


def supervised(config: TrainConfig) -> str:
    """Say which share of the learning is supervised; empty without a warm start."""
    clone = config.clone
    if clone.steps:
        return f"{clone.steps:,} supervised minibatches come first; clone.minutes=0 learns from rewards alone"
    if not clone.minutes:
        return ""
    share = clone.minutes / max(config.minutes or 0.0, clone.minutes)
    return f"{share:.0%} of the learning is supervised; clone.minutes=0 learns from rewards alone"
