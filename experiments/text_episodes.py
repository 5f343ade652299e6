"""Comparison of rewards of the same episodes in words and in numbers, played by a PPO agent, an oracle and a script.

python experiments/text_episodes.py [--episodes 100 --agent refshapes-label-free --reward iou --json out.json]

In numbers a policy acts in :class:`~vg_gym.envs.grounding.GroundingEnv`. In words it gives the same actions to
:class:`~vg_gym.language_models.text_env.TextGroundingEnv` and reads its observations. The script fails if a reward, an
end or a length differs.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from vg_gym.language_models.text_env import STOP, TextGroundingEnv, read_action, say_action

FRAME = "0-1000"
SCRIPT = ("[250, 250, 750, 750]", "left in coarse, right out fine", "top out coarse, bottom in fine", "stay", STOP)
"""Answers of the scripted policy step by step: a box, moves, no move, the end."""
TOLERANCE = 1e-6
Player = Callable[[Any, dict[str, np.ndarray], int], str]
"""Function from engine, arrays of the observation and number of the step to an answer in words."""


@dataclass(frozen=True)
class Played:
    """Results of a player in both environments."""

    player: str
    episodes: int
    steps: int
    mean_return: float
    mean_iou: float
    difference: float
    """Largest difference between two rewards of the same step."""
    same_ends: bool
    """True if all episodes ended at the same step in the same way."""


def main() -> None:
    """Play, print a table, and fail if the environments differ."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--episodes", type=int, default=100)
    p.add_argument("--agent", default="refshapes-label-free")
    p.add_argument("--reward", default="iou")
    p.add_argument("--json", type=Path, help="also write the figures here")
    given = p.parse_args()
    played = compare(given.episodes, given.agent, given.reward)
    print("| player | episodes | steps | mean return | mean IoU | largest difference of a reward |")
    print("|---|---|---|---|---|---|")
    for row in played:
        print(
            f"| {row.player} | {row.episodes} | {row.steps} | {row.mean_return:.4f} | {row.mean_iou:.4f} "
            f"| {row.difference:.1e} |"
        )
    if given.json:
        columns = ("episodes", "steps", "mean_return", "mean_iou", "difference")
        write_figures(given.json, {f"{row.player}: {what}": getattr(row, what) for row in played for what in columns})
    if not all(row.same_ends and row.difference <= TOLERANCE for row in played):
        raise SystemExit("the two faces differ")


def compare(episodes: int, agent: str, reward: str) -> list[Played]:
    """Return the results of every player in both environments, on the first samples of RefShapes val."""
    folder = find_agent(agent)
    options = {**env_options(f"agent:{agent}"), "reward": reward, "cache": False}
    options["clip"] = load_clip(options["clip"])
    data = registry.open_dataset("refshapes", "val")
    options["dataset"] = [data[i] for i in range(episodes)]
    numbers, words = GroundingEnv(**options), TextGroundingEnv(FRAME, size=64, **options)
    policy = load_policy(folder, read_about(folder), numbers.engine)

    def ppo(engine, arrays, step):
        return say_action(np.asarray(policy.predict(arrays, deterministic=True)[0]), engine.actions)

    def oracle(engine, arrays, step):
        return say_action(oracle_actions(engine)[0], engine.actions)

    def script(engine, arrays, step):
        return SCRIPT[min(step, len(SCRIPT) - 1)]

    players: dict[str, Player] = {f"PPO, `agent:{agent}`": ppo, "oracle": oracle, "script": script}
    return [_both(name, player, numbers, words, episodes) for name, player in players.items()]


def _both(name: str, player: Player, numbers: GroundingEnv, words: TextGroundingEnv, episodes: int) -> Played:
    ours = [_episode(numbers, numbers.engine, player, index) for index in range(episodes)]
    said = [_episode(words, words.env.engine, player, index) for index in range(episodes)]
    pairs = [(a, b) for (ra, *_), (rb, *_) in zip(ours, said, strict=True) for a, b in zip(ra, rb, strict=False)]
    return Played(
        name,
        episodes,
        steps=len(pairs),
        mean_return=float(np.mean([sum(rewards) for rewards, *_ in said])),
        mean_iou=float(np.mean([iou for *_, iou in said])),
        difference=float(max(abs(a - b) for a, b in pairs)),
        same_ends=[(len(r), end) for r, end, _ in ours] == [(len(r), end) for r, end, _ in said],
    )


def _episode(env: Any, engine: Any, player: Player, index: int) -> tuple[list[float], tuple[bool, bool], float]:
    """Rewards, the two ends, and the final IoU of an episode."""
    in_words = isinstance(env, TextGroundingEnv)
    arrays, _ = env.reset(seed=index, options={"index": index})
    rewards, ends = [], (False, False)
    while not any(ends):
        answer = player(engine, env.arrays if in_words else arrays, len(rewards))
        arrays, reward, *ends, info = env.step(answer) if in_words else _in_numbers(env, answer)
        rewards.append(float(reward))
    return rewards, tuple(ends), float(info["iou"])


def _in_numbers(env: GroundingEnv, answer: str) -> Any:
    """Take a step in the numeric environment: place a box or take an action."""
    if boxes := find_boxes(answer, FRAME):
        size = env.engine.query(0).image.size
        return env.place(box_ops.normalize(place(boxes[0], FRAME, size), size))
    return env.step(read_action(answer, env.engine.actions))


if __name__ == "__main__":
    run(main)
