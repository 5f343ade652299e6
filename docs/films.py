"""Draw the animated pictures of README and of the site.

python docs/films.py

``docs/agent.gif``: expressions of RefShapes test and the built-in agent. ``docs/environments/ID.gif``: seeded
episodes of each registered id, played by the greedy oracle.
"""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np

import vg_gym
from vg_gym.agents.oracle import oracle_actions
from vg_gym.agents.publishing.film import film_of
from vg_gym.data.drawing import save_gif
from vg_gym.registry import grounder, open_dataset

DOCS = Path(__file__).parent
EPISODES = 3
"""Number of episodes of each environment, and number of episodes of the agent shown at once."""
ROUNDS = 2
"""Number of rounds of the agent's episodes."""
PAUSE = 8
"""Number of frames between rounds."""


def main() -> None:
    """Write all pictures."""
    save_gif(agent_film(), DOCS / "agent.gif")
    (DOCS / "environments").mkdir(exist_ok=True)
    for seed, name in enumerate(vg_gym.ENVIRONMENTS):
        save_gif(environment_film(name, 10 * seed), DOCS / f"environments/{name}.gif", fps=2)


def agent_film() -> list[np.ndarray]:
    """Return expressions of RefShapes test after those of the still picture, on relations and size in turn."""
    data = open_dataset("refshapes", "test")
    samples = [data[index] for index in range(12, 60)]
    kinds = [[sample for sample in samples if sample.kind == kind] for kind in ("relation", "size")]
    chosen = [sample for pair in zip(*kinds, strict=False) for sample in pair][: EPISODES * ROUNDS]
    agent = grounder("agent:refshapes")
    rounds = [film_of(agent, chosen[at : at + EPISODES]) for at in range(0, len(chosen), EPISODES)]
    return [frame for frames in rounds for frame in (*frames, *[frames[-1]] * PAUSE)]


def environment_film(name: str, seed: int) -> list[np.ndarray]:
    """Return the frames of consecutive episodes of an id, with seeds from ``seed`` on."""
    env = gymnasium.make(name, render_mode="rgb_array", min_steps=1)
    played = [episode(env, seed + number) for number in range(EPISODES)]
    return of_one_size([frame for frames in played for frame in (*frames, frames[-1])])


def of_one_size(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Extend frames to the size of the largest with white on the right and below."""
    height, width = (max(frame.shape[axis] for frame in frames) for axis in (0, 1))
    borders = [((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)) for frame in frames]
    return [np.pad(frame, border, constant_values=255) for frame, border in zip(frames, borders, strict=True)]


def episode(env: gymnasium.Env, seed: int) -> list[np.ndarray]:
    """Return the frames of an episode that the oracle plays."""
    env.reset(seed=seed)
    engine = env.unwrapped.engine
    frames, over = [env.render()], False
    while not over:
        action = oracle_actions(engine)[0]
        *_, terminated, truncated, _ = env.step(action)
        frames.append(env.render())
        over = terminated or truncated
    return frames


if __name__ == "__main__":
    main()
