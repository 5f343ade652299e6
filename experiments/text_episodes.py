"""Comparison of the rewards of the same episodes in every face of the environment, played by three players.

python experiments/text_episodes.py [--episodes 100 --agent refshapes-label-free --reward iou --json out.json]

A PPO agent, the greedy oracle and a script play each episode in :class:`~vg_gym.envs.grounding.GroundingEnv`, in
numbers. The other faces (:data:`FACES`) get the same answers in words: those that show the arrays of the observation
ask the player again, and the others replay what it said. The script fails if a reward, an end or a length differs.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vg_gym.agents.checkpoint import find_agent, load_policy, read_about
from vg_gym.agents.oracle import oracle_actions
from vg_gym.agents.publishing.minari_data import env_options
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.errors import VGGymError, unknown
from vg_gym.language_models.text_env import STOP, say_action

sys.path.insert(0, str(Path(__file__).parents[1]))
from experiments.faces import Face, Numbers, Player, Tools, Words  # noqa: E402

SCRIPT = ("[250, 250, 750, 750]", "left in coarse, right out fine", "top out coarse, bottom in fine", "stay", STOP)
"""Answers of the scripted policy step by step: a box, moves, no move, the end."""
TOLERANCE = 1e-6


def open_env(options: dict[str, Any]) -> Face:
    """Return the face of the OpenEnv package."""
    from experiments.served_faces import OpenEnvFace

    return OpenEnvFace(options)


def verifiers(options: dict[str, Any]) -> Face:
    """Return the face of the verifiers package."""
    from experiments.served_faces import VerifiersFace

    return VerifiersFace(options)


FACES: dict[str, Callable[[dict[str, Any]], Face]] = {
    "words": Words, "TRL": Tools, "OpenEnv": open_env, "verifiers": verifiers,
}  # fmt: skip
"""Name of a face -> function from the options of the environment to the face."""
PACKAGES = {
    "OpenEnv": ("vg_gym_openenv", "integrations/openenv"),
    "verifiers": ("vg_gym_grounding", "integrations/verifiers"),
}
"""Name of a face -> module that it needs, and the folder of the package that has it."""


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
    p.add_argument("--faces", default="", help=f"comma-separated, of {', '.join(FACES)} (default: those installed)")
    p.add_argument("--json", type=Path, help="also write the figures here")
    given = p.parse_args()
    played = compare(given.episodes, given.agent, given.reward, chosen(given.faces))
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


def chosen(faces: str) -> tuple[str, ...]:
    """Return the faces that the user names; without names those whose packages are installed, and say which are not.

    Raises:
        VGGymError: a face is unknown, or its package is not installed.
    """
    missing = {name: folder for name, (module, folder) in PACKAGES.items() if find_spec(module) is None}
    remedies = {name: f"{name} is not installed: pip install -e {folder}" for name, folder in missing.items()}
    if not faces:
        print("".join(f"left out: {remedy}\n" for remedy in remedies.values()), end="", file=sys.stderr)
        return tuple(name for name in FACES if name not in missing)
    for name in faces.split(","):
        if name not in FACES:
            raise unknown("face", name, FACES)
        if name in missing:
            raise VGGymError(remedies[name])
    return tuple(faces.split(","))


def compare(episodes: int, agent: str, reward: str, faces: tuple[str, ...]) -> list[Played]:
    """Return the results of every player in every face, on the first samples of RefShapes val."""
    folder = find_agent(agent)
    data = {"dataset": "refshapes", "split": "val"}
    options = {**env_options(f"agent:{agent}"), **data, "reward": reward, "cache": False}
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
    reference = numbers.play(player, episodes, ())
    answers = [words for _, words in reference]
    rows = []
    for face_name, face in faces.items():
        played = face.play(player, episodes, answers)
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


if __name__ == "__main__":
    run(main)
