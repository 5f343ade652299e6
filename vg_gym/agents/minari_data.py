"""Episodes as a Minari data set, for offline RL: who acts, and what is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from tqdm import tqdm

from vg_gym.agents.checkpoint import find_agent, load_policy, read_about
from vg_gym.agents.oracle import greedy_action
from vg_gym.boxes import to_numpy
from vg_gym.envs.engine import GroundingEngine
from vg_gym.errors import VGGymError

Actor = Callable[[dict[str, np.ndarray]], Any]
"""An observation to an action."""
REFERENCE_EPISODES = 100
"""Episodes of the random actor and of the oracle, whose mean returns are the reference scores."""
PREFIX = "agent:"


def env_options(agent: str) -> dict[str, Any]:
    """The options of the environment that an agent acts in: a trained agent's own, else those of :func:`make`.

    Raises:
        VGGymError: there is no such agent.
    """
    if not agent.startswith(PREFIX):
        return {"min_steps": 1}
    about = read_about(find_agent(agent.removeprefix(PREFIX)))
    return {"min_steps": 1, **about["env"], "features": "", "clip": about["clip"]}


def make_actor(agent: str, env: gymnasium.Env, seed: int) -> Actor:
    """Who acts: ``oracle`` (which sees the target), ``random``, or ``agent:NAME``.

    Raises:
        VGGymError: the agent is unknown, or the oracle has no labels to see.
    """
    engine: GroundingEngine = env.unwrapped.engine  # type: ignore[attr-defined]
    if agent == "random":
        env.action_space.seed(seed)
        return lambda observation: env.action_space.sample()
    if agent == "oracle":
        if not engine.episodes.labeled:
            raise VGGymError("the oracle moves towards the target box, and these data have none; use --agent random")
        return lambda observation: _greedy(engine)
    if not agent.startswith(PREFIX):
        raise VGGymError(f"unknown agent {agent!r}: oracle, random, or agent:NAME, e.g. agent:refshapes")
    folder = find_agent(agent.removeprefix(PREFIX))
    policy = load_policy(folder, read_about(folder), engine)
    return lambda observation: policy.predict(observation, deterministic=True)[0]


def _greedy(engine: GroundingEngine) -> Any:
    boxes, targets, proposals = (to_numpy(x) for x in (engine.boxes, engine.targets, engine.proposals))
    return greedy_action(engine.actions, boxes, targets, proposals, max(1e-4, engine.options.step_cost))[0]


def play(env: gymnasium.Env, actor: Actor, episodes: int, seed: int, what: str = "") -> np.ndarray:
    """Play episodes; returns their returns (episodes,).

    Args:
        env: any wrapper of :class:`~vg_gym.envs.GroundingEnv`.
        actor: who acts.
        episodes: how many.
        seed: of the first episode; the next has the next.
        what: text of the progress bar; empty for none.
    """
    returns = np.zeros(episodes)
    for episode in tqdm(range(episodes), desc=what, unit="episode", disable=not what):
        observation, _ = env.reset(seed=seed + episode)
        over = False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(actor(observation))
            returns[episode] += float(reward)
            over = terminated or truncated
    return returns


def write_minari(
    name: str, env_id: str, agent: str = "oracle", episodes: int = 1000, seed: int = 0, **options: Any
) -> Any:
    """Record episodes as the local Minari data set ``name``; it appears whole or not at all.

    The reference scores are the mean returns of the random actor and of the oracle on :data:`REFERENCE_EPISODES`.

    Args:
        name: e.g. ``refshapes/oracle-v0``.
        env_id: e.g. ``RefShapes-Ground-v0``.
        agent: see :func:`make_actor`.
        episodes: how many.
        seed: of episodes and actions.
        **options: of the environment; they override those of :func:`env_options`.

    Returns:
        The :class:`minari.MinariDataset`.

    Raises:
        VGGymError: Minari is not installed, its name is taken or malformed, or the agent or an option is unknown.
    """
    try:
        import minari
    except ImportError as error:
        raise VGGymError('Minari is not installed: pip install "vg_gym[minari]"') from error
    if episodes < 1:
        raise VGGymError(f"episodes={episodes} must be at least 1")
    if name in minari.list_local_datasets():
        raise VGGymError(f"there is a Minari data set {name} already: choose another name, or minari delete {name}")
    env = gymnasium.make(env_id, **{**env_options(agent), **options})
    actor = make_actor(agent, env, seed)
    low, high = (
        float(play(env, make_actor(who, env, seed), REFERENCE_EPISODES, seed, f"{who} for reference").mean())
        for who in ("random", "oracle" if env.unwrapped.engine.episodes.labeled else "random")  # type: ignore[attr-defined]
    )
    collector = minari.DataCollector(env, record_infos=True)
    try:
        play(collector, actor, episodes, seed, f"{name} by {agent}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`\w+` is set to None", UserWarning)  # authors are the user's to add
            found = collector.create_dataset(
                dataset_id=name,
                algorithm_name=agent,
                ref_min_score=low,
                ref_max_score=high,
                description=f"{episodes} episodes of {env_id} played by {agent}, seed {seed}",
                requirements=["vg_gym"],
            )
    except ValueError as error:
        raise VGGymError(f"Minari refuses {name}: {error}") from error
    finally:
        collector.close()
    return found
