"""What happens beside learning: progress, TensorBoard, evaluation, checkpoints, trajectory images, the end of time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from vg_gym.agents.checkpoint import read_about, save_agent
from vg_gym.agents.rollout import Episode, draw_episode, play
from vg_gym.envs import rendering
from vg_gym.envs.engine import GroundingEngine

BAR = "{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
Clock = Callable[[], float]
"""Progress of the run in [0, 1]."""


class EpisodeStats(BaseCallback):
    """Progress bar and TensorBoard scalars of the episodes that ended lately.

    Args:
        clock: progress of the run; the run stops at 1.
        window: episodes averaged.
    """

    KEYS = ("iou", "is_success", "clip_score", "triggered")

    def __init__(self, clock: Clock, window: int = 1000):
        super().__init__()
        self.clock = clock
        self.recent: dict[str, deque[float]] = {name: deque(maxlen=window) for name in (*self.KEYS, "return", "length")}
        self._bar: tqdm | None = None
        self._start = 0.0

    def _on_training_start(self) -> None:
        self._start, self._first = time.monotonic(), self.num_timesteps
        self._bar = tqdm(
            total=100, desc="train_agent", unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}"
        )

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.recent["return"].append(info["episode"]["r"])
                self.recent["length"].append(info["episode"]["l"])
                for name in self.KEYS:
                    if name in info:
                        self.recent[name].append(info[name])
        return self.clock() < 1

    def _on_rollout_end(self) -> None:
        means = {name: float(np.mean(values)) for name, values in self.recent.items() if values}
        fps = (self.num_timesteps - self._first) / max(time.monotonic() - self._start, 1e-9)
        names = {"is_success": "acc@0.5", "triggered": "trigger_rate"}
        for name, value in {**means, "fps": fps}.items():
            self.logger.record(f"rollout/{names.get(name, name)}", value)
        if self._bar is not None:
            self._bar.n = round(100 * self.clock(), 1)
            shown = {names.get(k, k): f"{v:.3f}" for k, v in means.items()}
            self._bar.set_postfix({**shown, "fps": f"{fps:.0f}", "steps": f"{self.num_timesteps:,}"})

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.close()


def evaluate(engine: GroundingEngine, policy: Any, samples: int) -> tuple[dict[str, float], list[Episode]]:
    """Play the first ``samples`` episodes of an engine once each, deterministically; means and the episodes."""

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
    uses no box label either.

    Args:
        engine: the validation environment.
        samples: episodes per evaluation.
        out: the run folder.
        about: what ``agent.json`` says.
        every: minutes between evaluations.
        pictures: trajectories drawn for TensorBoard.
    """

    def __init__(
        self, engine: GroundingEngine, samples: int, out: Path, about: dict[str, Any], every: float, pictures: int = 6
    ):
        super().__init__()
        self.engine, self.samples, self.out, self.about = engine, samples, out, about
        self.every, self.pictures = 60 * every, pictures
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
        from stable_baselines3.common.logger import TensorBoardOutputFormat

        frames = [draw_episode(self.engine.episodes, e) for e in episodes[: self.pictures]]
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat) and frames:
                sheet = rendering.contact_sheet(frames, columns=3)
                output.writer.add_image("val/trajectories", sheet, self.model.num_timesteps, dataformats="HWC")
