"""Ways to play the environment in this process: in numbers, in words, and with the tools of TRL's trainer."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.frames import place
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.grounding_tools import call_of, tools_of
from vg_gym.language_models.text_env import TextGroundingEnv, read_action

FRAME = "0-1000"
SIZE = 64
"""Longer side of the pictures in pixels."""
Arrays = dict[str, np.ndarray]
"""Observation of ``GroundingEnv``."""
Player = Callable[[Any, Arrays, int], str]
"""Function from engine, arrays of the observation and number of the step to an answer in words."""
Step = tuple[float, tuple[bool, bool], float]
"""Reward, the two ends (terminated, truncated), and the IoU after a step (NaN where a face does not tell it)."""
Episode = tuple[list[Step], list[str]]
"""The steps of an episode, and its answers in words."""


class Face(Protocol):
    """A way to play the environment."""

    def play(self, player: Player, episodes: int, answers: Sequence[Sequence[str]]) -> list[Episode]:
        """Play the first episodes of the data set.

        Args:
            player: player, who is asked if the face shows arrays.
            episodes: number of episodes.
            answers: answers of each episode for faces that do not show arrays.
        """


class StepFace:
    """Face that is played step by step."""

    engine: Any = None
    """Engine of the episode; None if the face does not show arrays."""

    def reset(self, index: int) -> Arrays | None:
        """Start an episode; return the arrays of its observation, or None if the face does not show them."""
        raise NotImplementedError

    def act(self, words: str) -> tuple[Arrays | None, Step]:
        """Answer in words; return what :meth:`reset` does, and the step."""
        raise NotImplementedError

    def play(self, player: Player, episodes: int, answers: Sequence[Sequence[str]]) -> list[Episode]:
        """See :class:`Face`."""
        return [self._episode(player, index, answers[index] if answers else ()) for index in range(episodes)]

    def _episode(self, player: Player, index: int, answers: Sequence[str]) -> Episode:
        arrays, steps, spoken = self.reset(index), [], []
        while not (steps and any(steps[-1][1])):
            if arrays is not None:
                spoken.append(player(self.engine, arrays, len(steps)))
            elif len(steps) < len(answers):
                spoken.append(answers[len(steps)])
            else:  # this face goes on where the answers end
                break
            arrays, step = self.act(spoken[-1])
            steps.append(step)
        return steps, spoken


class Numbers(StepFace):
    """``GroundingEnv``, in which words become actions."""

    def __init__(self, options: dict[str, Any]):
        self.env = GroundingEnv(**options)
        self.engine = self.env.engine

    def reset(self, index: int) -> Arrays:
        """See :class:`StepFace`."""
        return self.env.reset(seed=index, options={"index": index})[0]

    def act(self, words: str) -> tuple[Arrays, Step]:
        """See :class:`StepFace`."""
        if boxes := find_boxes(words, FRAME):
            size = self.engine.query(0).image.size
            result = self.env.place(box_ops.normalize(place(boxes[0], FRAME, size), size))
        else:
            result = self.env.step(read_action(words, self.engine.actions))
        arrays, reward, terminated, truncated, info = result
        return arrays, (float(reward), (terminated, truncated), float(info["iou"]))


class Words(StepFace):
    """``TextGroundingEnv``."""

    def __init__(self, options: dict[str, Any]):
        self.env = TextGroundingEnv(FRAME, size=SIZE, **options)
        self.engine = self.env.env.engine

    def reset(self, index: int) -> Arrays:
        """See :class:`StepFace`."""
        self.env.reset(seed=index, options={"index": index})
        return self.env.arrays

    def act(self, words: str) -> tuple[Arrays, Step]:
        """See :class:`StepFace`."""
        _, reward, terminated, truncated, info = self.env.step(words)
        return self.env.arrays, (float(reward), (terminated, truncated), float(info["iou"]))


class Tools(StepFace):
    """The tools, the environment of TRL's trainer; words become calls."""

    def __init__(self, options: dict[str, Any]):
        self.env = tools_of(frame=FRAME, size=SIZE, **options)()

    def reset(self, index: int) -> None:
        """See :class:`StepFace`."""
        self.env.reset(index=index, seed=index)

    def act(self, words: str) -> tuple[None, Step]:
        """See :class:`StepFace`; the reward is the difference that the call makes to ``get_reward()``."""
        before = self.env.get_reward()
        name, arguments = call_of(words, FRAME)
        getattr(self.env, name)(**arguments)
        ends = self.env.is_over and name == "stop", self.env.is_over and name != "stop"
        return None, (self.env.get_reward() - before, ends, float(self.env.info["iou"]))
