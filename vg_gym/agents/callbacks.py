"""Callbacks of learning: progress, TensorBoard, evaluation, checkpoints, trajectories, and the end of the run."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from vg_gym.agents.budget import Budget
from vg_gym.agents.checkpoint import save_agent
from vg_gym.agents.rollout import Episode, draw_episode, play
from vg_gym.data import drawing
from vg_gym.envs.engine import GroundingEngine
from vg_gym.runtime.command_stages import label, percent_bar

EPISODE_STATS = {"iou": "iou", "clip_score": "clip_score", "triggered": "trigger_rate"}
"""Names in TensorBoard of the values of an episode's ``info``. SB3 logs returns, lengths, successes and speed:
``rollout/ep_rew_mean``, ``rollout/ep_len_mean``, ``rollout/success_rate`` (IoU >= 0.5) and ``time/fps``."""
LEARNS = "learning"
"""Name of the progress bar."""
SHOWN = ("return", "iou")
"""Values that the bar shows; TensorBoard has all."""
STATS_EPISODES = 1000
"""Number of recent episodes whose means are logged."""


class EpisodeStats(BaseCallback):
    """Progress bar and TensorBoard scalars of recent episodes; ends the run when its budget is used up.

    Args:
        budget: budget of the run, whose steps this callback counts.
    """

    def __init__(self, budget: Budget):
        super().__init__()
        self.budget = budget
        self.recent: dict[str, deque[float]] = {name: deque(maxlen=STATS_EPISODES) for name in EPISODE_STATS}
        self._bar: tqdm | None = None
        self._start, self._first = 0.0, 0

    def _on_training_start(self) -> None:
        self._start, self._first = time.monotonic(), self.num_timesteps
        self._bar = tqdm(total=100, desc=label(LEARNS), unit="%", bar_format=percent_bar())

    def _on_rollout_start(self) -> None:
        self.logger.record("time/threads", torch.get_num_threads())

    def _on_step(self) -> bool:
        self.budget.taken = self.num_timesteps
        for info in self.locals["infos"]:
            if "episode" in info:
                for name in EPISODE_STATS:
                    if name in info:
                        self.recent[name].append(info[name])
        return self.budget.progress() < 1

    def _on_rollout_end(self) -> None:
        means = {EPISODE_STATS[name]: float(np.mean(values)) for name, values in self.recent.items() if values}
        for name, value in means.items():
            self.logger.record(f"rollout/{name}", value)
        fps = (self.num_timesteps - self._first) / max(time.monotonic() - self._start, 1e-9)
        if self._bar is not None:
            share = self.budget.progress()
            self._bar.n = round(100 * share, 1)
            self._bar.set_description(label(LEARNS, share), refresh=False)
            if returns := [episode["r"] for episode in self.model.ep_info_buffer or ()]:
                means = {"return": float(np.mean(returns)), **means}
            texts = {name: f"{value:.3f}" for name, value in means.items() if name in SHOWN}
            self._bar.set_postfix({**texts, "fps": f"{fps:.0f}"})

    def _on_training_end(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the progress bar."""
        if self._bar is not None:
            self._bar.close()


class TruncationValues(BaseCallback):
    """Adds the critic's value of the state after a truncated episode to its last reward, for all rows of a step.

    The return of an episode that was cut off would continue (Pardo et al., *Time Limits in Reinforcement Learning*,
    ICML 2018). SB3's on-policy algorithms add the same value, but call the critic for one episode after the other. With
    a policy that does not pull the trigger yet, that takes a quarter of the time.
    """

    def _on_step(self) -> bool:
        model, infos = self.model, self.locals["infos"]
        rows = [row for row, info in enumerate(infos) if info.get("TimeLimit.truncated")]
        if rows and isinstance(model, OnPolicyAlgorithm):
            last = [infos[row].pop("terminal_observation") for row in rows]  # SB3 adds nothing without it
            observations = {name: np.stack([observation[name] for observation in last]) for name in last[0]}
            with torch.no_grad():
                values = model.policy.predict_values(obs_as_tensor(observations, model.device))  # type: ignore[arg-type]
            self.locals["rewards"][rows] += model.gamma * values.flatten().cpu().numpy()
        return True


def evaluate(engine: GroundingEngine, policy: Any, samples: int) -> tuple[dict[str, float], list[Episode]]:
    """Play the first episodes of an engine once each, deterministically.

    Args:
        engine: engine with the episodes.
        policy: an SB3 policy.
        samples: largest number of episodes.

    Returns:
        Means of the logged values (NaN without the labels that they need), and the episodes.
    """

    def act(observations: dict[str, np.ndarray]) -> np.ndarray:
        return policy.predict(observations, deterministic=True)[0]

    episodes = play(engine, act, range(min(samples, len(engine.episodes))))
    columns: dict[str, list[float]] = {
        "iou": [e.iou for e in episodes],
        "acc@0.5": [e.success for e in episodes],
        "clip_score": [e.score for e in episodes],
        "trigger_rate": [e.triggered for e in episodes],
        "length": [e.steps for e in episodes],
        "return": [e.reward for e in episodes],
    }
    return {name: float(np.mean(values)) for name, values in columns.items()}, episodes


class Evaluation(BaseCallback):
    """Evaluates at intervals, saves the best and the last agent, and draws some trajectories.

    The best agent is the one with the highest mean *return* on the validation split. With ``reward=clip`` this choice
    does not depend on box labels; IoU is logged if there are labels, but decides nothing.

    Args:
        engine: engine with the validation episodes.
        samples: number of episodes per evaluation.
        out: folder of the run.
        about: content of ``agent.json``.
        budget: budget of the run.
        every: share of the budget between evaluations.
        best: mean return of the best agent so far, if a run is resumed.
        images: number of trajectories in TensorBoard, which always belong to the same episodes.
    """

    def __init__(
        self, engine: GroundingEngine, samples: int, out: Path, about: dict[str, Any], budget: Budget, every: float,
        best: float | None = None, images: int = 6,
    ):  # fmt: skip
        super().__init__()
        self.engine, self.samples, self.out, self.about = engine, samples, out, about
        self.budget, self.every, self.images = budget, every, images
        self.best, self._last = -np.inf if best is None else best, 0.0

    def _on_training_start(self) -> None:
        self._last = self.budget.progress()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.budget.progress() - self._last >= self.every:
            self.run()

    def run(self) -> dict[str, float]:
        """Evaluate, log and save, and return the means."""
        means, episodes = evaluate(self.engine, self.model.policy, self.samples)
        for name, value in means.items():
            self.logger.record(f"val/{name}", value)
        self._draw(episodes)
        figures = {name: value for name, value in means.items() if np.isfinite(value)}
        if means["return"] > self.best:
            self.best = means["return"]
            save_agent(self.out / "best", self.model, self._about(val=figures))
        self.save_last(val=figures)
        self.logger.dump(self.model.num_timesteps)
        text = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        tqdm.write(f"val at {self.model.num_timesteps:,} steps: {text}")
        self._last = self.budget.progress()
        return means

    def save_last(self, **figures: Any) -> None:
        """Write ``last/``, from which the run can be resumed.

        Args:
            **figures: further values for ``agent.json``, e.g. ``val``.
        """
        best = self.best if np.isfinite(self.best) else None
        about = self._about(**figures, best=best)
        save_agent(self.out / "last", self.model, about, minutes=self.budget.spent_minutes())

    def _about(self, **more: Any) -> dict[str, Any]:
        return {**self.about, "steps": self.model.num_timesteps, **more}

    def _draw(self, episodes: list[Episode]) -> None:
        every = max(1, len(episodes) // self.images)
        frames = [draw_episode(self.engine.episodes, e) for e in episodes[::every][: self.images]]
        if frames and (writer := tensorboard_writer(self.logger)):
            sheet = drawing.contact_sheet(frames, columns=3)
            writer.add_image("val/trajectories", sheet, self.model.num_timesteps, dataformats="HWC")


def tensorboard_writer(logger: Logger) -> SummaryWriter | None:
    """Return the TensorBoard writer of a logger; None without one."""
    return next((o.writer for o in logger.output_formats if isinstance(o, TensorBoardOutputFormat)), None)
