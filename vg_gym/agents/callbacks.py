"""What happens beside learning: progress, TensorBoard, evaluation, checkpoints, trajectories, the end of the run."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tqdm import tqdm

from vg_gym.agents.budget import Budget
from vg_gym.agents.checkpoint import read_about, save_agent
from vg_gym.agents.rollout import Episode, draw_episode, play
from vg_gym.envs import rendering
from vg_gym.envs.engine import GroundingEngine

BAR = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
"""Format of a progress bar in percent."""
EPISODE_STATS = {"iou": "iou", "is_success": "acc@0.5", "clip_score": "clip_score", "triggered": "trigger_rate"}
"""What an episode's ``info`` tells -> its name in TensorBoard."""


class EpisodeStats(BaseCallback):
    """Progress bar and TensorBoard scalars of the last episodes; ends the run when its budget is used up.

    Args:
        budget: of the run; this keeps its count of steps.
        window: episodes averaged.
    """

    def __init__(self, budget: Budget, window: int = 1000):
        super().__init__()
        self.budget = budget
        names = (*EPISODE_STATS, "return", "length")
        self.recent: dict[str, deque[float]] = {name: deque(maxlen=window) for name in names}
        self._bar: tqdm | None = None
        self._start, self._first = 0.0, 0

    def _on_training_start(self) -> None:
        self._start, self._first = time.monotonic(), self.num_timesteps
        self._bar = tqdm(total=100, desc="train_agent", unit="%", bar_format=BAR)

    def _on_step(self) -> bool:
        self.budget.timesteps = self.num_timesteps
        for info in self.locals["infos"]:
            if "episode" in info:
                self.recent["return"].append(info["episode"]["r"])
                self.recent["length"].append(info["episode"]["l"])
                for name in EPISODE_STATS:
                    if name in info:
                        self.recent[name].append(info[name])
        return self.budget.progress() < 1

    def _on_rollout_end(self) -> None:
        means = {EPISODE_STATS.get(k, k): float(np.mean(values)) for k, values in self.recent.items() if values}
        fps = (self.num_timesteps - self._first) / max(time.monotonic() - self._start, 1e-9)
        for name, value in {**means, "fps": fps}.items():
            self.logger.record(f"rollout/{name}", value)
        if self._bar is not None:
            self._bar.n = round(100 * self.budget.progress(), 1)
            shown = {name: f"{value:.3f}" for name, value in means.items()}
            self._bar.set_postfix({**shown, "fps": f"{fps:.0f}", "steps": f"{self.num_timesteps:,}"})

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()


def evaluate(engine: GroundingEngine, policy: Any, samples: int) -> tuple[dict[str, float], list[Episode]]:
    """Play the first episodes of an engine once each, deterministically.

    Args:
        engine: the environment.
        policy: an SB3 policy.
        samples: how many episodes, if there are as many.

    Returns:
        Means of what is logged (NaN where it needs labels and there are none), and the episodes.
    """

    def act(observations: dict[str, np.ndarray]) -> np.ndarray:
        return policy.predict(observations, deterministic=True)[0]

    episodes = play(engine, act, range(min(samples, len(engine.episodes))))
    columns: dict[str, list[float]] = {
        "iou": [e.iou for e in episodes],
        "acc@0.5": [e.iou if np.isnan(e.iou) else e.iou >= 0.5 for e in episodes],
        "clip_score": [e.score for e in episodes],
        "trigger_rate": [e.triggered for e in episodes],
        "length": [e.steps for e in episodes],
        "return": [e.reward for e in episodes],
    }
    return {name: float(np.mean(values)) for name, values in columns.items()}, episodes


class Evaluation(BaseCallback):
    """Evaluate now and then, keep the best and the last agent, draw some trajectories.

    The best agent is the one with the highest mean *return* on the validation split: with ``reward=clip`` its choice
    depends on no box label either; IoU is logged where there are labels, and decides nothing.

    Args:
        engine: the validation environment.
        samples: episodes per evaluation.
        out: the run folder.
        about: what ``agent.json`` says.
        every: minutes between evaluations.
        images: trajectories drawn for TensorBoard.
    """

    def __init__(
        self, engine: GroundingEngine, samples: int, out: Path, about: dict[str, Any], every: float, images: int = 6
    ):
        super().__init__()
        self.engine, self.samples, self.out, self.about = engine, samples, out, about
        self.every, self.images = 60 * every, images
        self.best, self._last = -np.inf, 0.0

    def _on_training_start(self) -> None:
        self._last = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if time.monotonic() - self._last >= self.every:
            self.run()

    def restore(self) -> None:
        """Take the best return so far from the run folder."""
        self.best = float(read_about(self.out / "last")["best"])

    def run(self) -> dict[str, float]:
        """Evaluate, log and save; returns the means."""
        means, episodes = evaluate(self.engine, self.model.policy, self.samples)
        for name, value in means.items():
            self.logger.record(f"val/{name}", value)
        self._draw(episodes)
        known = {name: value for name, value in means.items() if np.isfinite(value)}
        about = {**self.about, "steps": self.model.num_timesteps, "val": known}
        if means["return"] > self.best:
            self.best = means["return"]
            save_agent(self.out / "best", self.model, about)
        save_agent(self.out / "last", self.model, {**about, "best": self.best}, resumable=True)
        self.logger.dump(self.model.num_timesteps)
        shown = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
        tqdm.write(f"val at {self.model.num_timesteps:,} steps: {shown}")
        self._last = time.monotonic()
        return means

    def _draw(self, episodes: list[Episode]) -> None:
        frames = [draw_episode(self.engine.episodes, e) for e in episodes[: self.images]]
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat) and frames:
                sheet = rendering.contact_sheet(frames, columns=3)
                output.writer.add_image("val/trajectories", sheet, self.model.num_timesteps, dataformats="HWC")
