"""Comparison of the rewards of the same episodes in every face of the environment, played by three players.

python experiments/text_episodes.py [--episodes 100 --agent refshapes-label-free --reward iou --json out.json]

A PPO agent, the greedy oracle and a script play each episode in :class:`~vg_gym.envs.grounding.GroundingEnv`, in
numbers. The other faces (:data:`FACES`) get the same answers in words: those that show the arrays of the observation
ask the player again, and the others replay what it said. The script fails if a reward, an end or a length differs.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.agents.checkpoint import find_agent, load_policy, read_about
from vg_gym.agents.oracle import oracle_actions
from vg_gym.agents.publishing.minari_data import env_options
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip.loader import load_clip
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.frames import place
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.grounding_tools import call_of, tools_of
from vg_gym.language_models.text_env import STOP, TextGroundingEnv, read_action, say_action

FRAME = "0-1000"
SIZE = 64
"""Longer side of the pictures in pixels."""
SCRIPT = ("[250, 250, 750, 750]", "left in coarse, right out fine", "top out coarse, bottom in fine", "stay", STOP)
"""Answers of the scripted policy step by step: a box, moves, no move, the end."""
TOLERANCE = 1e-6
Arrays = dict[str, np.ndarray]
"""Observation of ``GroundingEnv``."""
Player = Callable[[Any, Arrays, int], str]
"""Function from engine, arrays of the observation and number of the step to an answer in words."""
Step = tuple[float, tuple[bool, bool], float]
"""Reward, the two ends (terminated, truncated), and the IoU after a step."""


class Face(Protocol):
    """A way to play the environment."""

    engine: Any
    """Engine of the episode; None if it is in another process."""

    def reset(self, index: int) -> Arrays | None:
        """Start an episode; return the arrays of its observation, or None if the face does not show them."""

    def act(self, words: str) -> tuple[Arrays | None, Step]:
        """Answer in words; return what :meth:`reset` does, and the step."""


class Numbers:
    """``GroundingEnv``, in which words become actions."""

    def __init__(self, options: dict[str, Any]):
        self.env = GroundingEnv(**options)
        self.engine = self.env.engine

    def reset(self, index: int) -> Arrays:
        """See :class:`Face`."""
        return self.env.reset(seed=index, options={"index": index})[0]

    def act(self, words: str) -> tuple[Arrays, Step]:
        """See :class:`Face`."""
        if boxes := find_boxes(words, FRAME):
            size = self.engine.query(0).image.size
            result = self.env.place(box_ops.normalize(place(boxes[0], FRAME, size), size))
        else:
            result = self.env.step(read_action(words, self.engine.actions))
        arrays, reward, terminated, truncated, info = result
        return arrays, (float(reward), (terminated, truncated), float(info["iou"]))


class Words:
    """``TextGroundingEnv``."""

    def __init__(self, options: dict[str, Any]):
        self.env = TextGroundingEnv(FRAME, size=SIZE, **options)
        self.engine = self.env.env.engine

    def reset(self, index: int) -> Arrays:
        """See :class:`Face`."""
        self.env.reset(seed=index, options={"index": index})
        return self.env.arrays

    def act(self, words: str) -> tuple[Arrays, Step]:
        """See :class:`Face`."""
        _, reward, terminated, truncated, info = self.env.step(words)
        return self.env.arrays, (float(reward), (terminated, truncated), float(info["iou"]))


class Tools:
    """The tools, the environment of TRL's trainer; words become calls."""

    engine = None

    def __init__(self, options: dict[str, Any]):
        self.env = tools_of(frame=FRAME, size=SIZE, **options)()

    def reset(self, index: int) -> None:
        """See :class:`Face`."""
        self.env.reset(index=index, seed=index)

    def act(self, words: str) -> tuple[None, Step]:
        """See :class:`Face`; the reward is the difference that the call makes to ``get_reward()``."""
        before = self.env.get_reward()
        name, arguments = call_of(words, FRAME)
        getattr(self.env, name)(**arguments)
        ends = self.env.is_over and name == "stop", self.env.is_over and name != "stop"
        return None, (self.env.get_reward() - before, ends, float(self.env.info["iou"]))


FACES: dict[str, Callable[[dict[str, Any]], Face]] = {"words": Words, "TRL": Tools}
"""Name of a face -> function from the options of the environment to the face."""


@dataclass(frozen=True)
class Played:
    """Results of a player in a face, compared with those in numbers."""

    player: str
    face: str
    episodes: int
    steps: int
    mean_return: float
    mean_iou: float
    difference: float
    """Largest difference between two rewards of the same step."""
    same_ends: bool
    """True if all episodes ended at the same step in the same way."""


def main() -> None:
    """Play, print a table, and fail if the faces differ."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--episodes", type=int, default=100)
    p.add_argument("--agent", default="refshapes-label-free")
    p.add_argument("--reward", default="iou")
    p.add_argument("--faces", default=",".join(FACES), help="comma-separated (default: %(default)s)")
    p.add_argument("--json", type=Path, help="also write the figures here")
    given = p.parse_args()
    played = compare(given.episodes, given.agent, given.reward, tuple(given.faces.split(",")))
    print("| player | face | episodes | steps | mean return | mean IoU | largest difference of a reward |")
    print("|---|---|---|---|---|---|---|")
    for row in played:
        print(
            f"| {row.player} | {row.face} | {row.episodes} | {row.steps} | {row.mean_return:.4f} | {row.mean_iou:.4f} "
            f"| {row.difference:.1e} |"
        )
    if given.json:
        columns = ("episodes", "steps", "mean_return", "mean_iou", "difference")
        figures = {f"{row.player}, {row.face}: {name}": getattr(row, name) for row in played for name in columns}
        write_figures(given.json, figures)
    if not all(row.same_ends and row.difference <= TOLERANCE for row in played):
        raise SystemExit("the faces differ")


def compare(episodes: int, agent: str, reward: str, faces: tuple[str, ...] = tuple(FACES)) -> list[Played]:
    """Return the results of every player in every face, on the first samples of RefShapes val."""
    folder = find_agent(agent)
    options = {**env_options(f"agent:{agent}"), "reward": reward, "cache": False}
    options["clip"] = load_clip(options["clip"])
    data = registry.open_dataset("refshapes", "val")
    options["dataset"] = [data[i] for i in range(episodes)]
    numbers = Numbers(options)
    policy = load_policy(folder, read_about(folder), numbers.engine)

    def ppo(engine, arrays, step):
        return say_action(np.asarray(policy.predict(arrays, deterministic=True)[0]), engine.actions)

    def oracle(engine, arrays, step):
        return say_action(oracle_actions(engine)[0], engine.actions)

    def script(engine, arrays, step):
        return SCRIPT[min(step, len(SCRIPT) - 1)]

    players: dict[str, Player] = {f"PPO, `agent:{agent}`": ppo, "oracle": oracle, "script": script}
    made = {name: FACES[name](options) for name in faces}
    return [row for name, player in players.items() for row in _everywhere(name, player, numbers, made, episodes)]


def _everywhere(name: str, player: Player, numbers: Face, faces: dict[str, Face], episodes: int) -> list[Played]:
    """Return the results of a player in all faces."""
    reference = [_episode(numbers, player, index) for index in range(episodes)]
    answers = [words for _, words in reference]
    rows = []
    for face_name, face in faces.items():
        played = [_episode(face, player, index, answers[index]) for index in range(episodes)]
        pairs = [(ours, theirs) for (ours, _), (theirs, _) in zip(reference, played, strict=True)]
        both = [(a, b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=False)]
        rows.append(
            Played(
                name,
                face_name,
                episodes,
                steps=len(both),
                mean_return=float(np.mean([sum(step[0] for step in theirs) for _, theirs in pairs])),
                mean_iou=float(np.mean([theirs[-1][2] for _, theirs in pairs])),
                difference=float(max(abs(a[0] - b[0]) for a, b in both)),
                same_ends=all(len(ours) == len(theirs) and ours[-1][1] == theirs[-1][1] for ours, theirs in pairs),
            )
        )
    return rows


def _episode(face: Face, player: Player, index: int, answers: list[str] | None = None) -> tuple[list[Step], list[str]]:
    """Play an episode; return its steps and the answers.

    Args:
        face: face.
        player: player, who is asked if the face shows arrays.
        index: number of the episode.
        answers: answers for faces that do not show arrays.
    """
    arrays, steps, said, over = face.reset(index), [], [], False
    while not over:
        if arrays is None:
            assert answers is not None
            if len(steps) == len(answers):  # this face goes on where the reference ended
                break
            words = answers[len(steps)]
        else:
            words = player(face.engine, arrays, len(steps))
        arrays, step = face.act(words)
        steps.append(step)
        said.append(words)
        over = any(step[1])
    return steps, said


if __name__ == "__main__":
    run(main)
