"""Episodes as a Minari data set, for offline RL: who acts, and what is written.

Minari's own ``DataCollector`` steps one environment and keeps nothing of a run that stops early. Here a batch of
episodes is played side by side, and each batch that is done is kept until the data set is whole.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from tqdm import tqdm

from vg_gym import __version__
from vg_gym.agents.checkpoint import env_of, find_agent, load_policy, read_about
from vg_gym.agents.oracle import oracle_actions
from vg_gym.envs.spec import GroundingSpec
from vg_gym.envs.vector import GroundingVectorEnv
from vg_gym.errors import VGGymError, importing, unknown
from vg_gym.registry.identity import versions
from vg_gym.storage.files import cache_folder, fingerprint, place_mark, replacing_folder

Actor = Callable[[dict[str, np.ndarray]], np.ndarray]
"""Observations of N rows to N actions."""
REFERENCE_EPISODES = 100
"""Episodes of the random actor and of the oracle, whose mean returns are the reference scores."""
BATCH = 64
"""Episodes that are played side by side, and kept together."""
PREFIX = "agent:"


def env_options(agent: str, typed: Collection[str] = ()) -> dict[str, Any]:
    """The options of the environment that an agent acts in: a trained agent's own, else those of :func:`make`.

    Args:
        agent: who acts.
        typed: options that the user gives in place of the agent's.

    Raises:
        VGGymError: there is no such agent, or its options name code.
    """
    if not agent.startswith(PREFIX):
        return {"min_steps": 1}
    folder = find_agent(agent.removeprefix(PREFIX))
    about = read_about(folder)
    return {"min_steps": 1, **env_of(folder, about, typed), "features": "", "clip": about["clip"]}


def make_actor(agent: str, envs: GroundingVectorEnv) -> Actor:
    """Who acts: ``oracle`` (which sees the target), ``random``, or ``agent:NAME``.

    Raises:
        VGGymError: the agent is unknown, or the oracle has no labels to see.
    """
    engine = envs.engine
    if agent == "random":
        return lambda observations: envs.action_space.sample()
    if agent == "oracle":
        if not engine.episodes.labeled:
            raise VGGymError("the oracle moves towards the target box, and these data have none; use --agent random")
        return lambda observations: oracle_actions(engine)
    if not agent.startswith(PREFIX):
        raise unknown("agent", agent, ("oracle", "random", f"{PREFIX}NAME"))
    folder = find_agent(agent.removeprefix(PREFIX))
    policy = load_policy(folder, read_about(folder), engine)
    return lambda observations: policy.predict(observations, deterministic=True)[0]


def play(envs: GroundingVectorEnv, actor: Actor, seed: int, count: int) -> list[dict[str, Any]]:
    """Play the episodes with seeds ``seed``, ``seed + 1``, ..., each once.

    Args:
        envs: without autoreset.
        actor: who acts; what it draws from ``envs.action_space`` depends on ``seed`` alone.
        seed: of the first.
        count: how many, ``envs.num_envs`` at most.

    Returns:
        For each what Minari's ``EpisodeBuffer`` holds: ``seed``, ``observations`` and ``infos`` (of T + 1 moments),
        ``actions``, ``rewards``, ``terminations`` and ``truncations`` (of T steps).
    """
    envs.action_space.seed(seed)
    observations, infos = envs.reset(seed=seed)
    seen, told, steps = [observations], [infos], []
    alive, length = np.ones(envs.num_envs, dtype=bool), np.zeros(envs.num_envs, dtype=int)
    while alive[:count].any():
        actions = actor(observations)
        observations, *outcome, infos = envs.step(actions)
        seen.append(observations)
        told.append(infos)
        steps.append((actions, *outcome))
        length += alive
        ended = outcome[1] | outcome[2]
        alive &= ~ended
        if ended.any() and alive[:count].any():  # those that ended play their episode again, unseen
            again = {"reset_mask": ended, "index": envs.engine.index[ended]}
            observations = envs.reset(options=again)[0]
    moments, columns = _stacked(seen), [np.stack(column) for column in zip(*steps, strict=True)]
    facts = _stacked([{name: values for name, values in info.items() if name[0] != "_"} for info in told])
    names = ("actions", "rewards", "terminations", "truncations")
    return [
        {
            "seed": seed + row,
            "observations": {name: values[: length[row] + 1, row] for name, values in moments.items()},
            "infos": {name: _text(values[: length[row] + 1, row]) for name, values in facts.items()},
            **{name: column[: length[row], row] for name, column in zip(names, columns, strict=True)},
        }
        for row in range(count)
    ]


def _stacked(moments: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Parts (T, N, ...) of T dicts of parts (N, ...)."""
    return {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}


def _text(values: np.ndarray) -> Any:
    """Texts as a list of ``str``, as Minari stores them; numbers as they are."""
    return [str(value) for value in values] if values.dtype.kind in "OU" else values


def mean_return(envs: GroundingVectorEnv, actor: Actor, episodes: int, seed: int) -> float:
    """The mean return of an actor.

    Args:
        envs: without autoreset.
        actor: who acts.
        episodes: how many.
        seed: of the first.
    """
    returns: list[float] = []
    for first in range(0, episodes, envs.num_envs):
        played = play(envs, actor, seed + first, min(envs.num_envs, episodes - first))
        returns += [float(np.sum(episode["rewards"], dtype=np.float64)) for episode in played]
    return float(np.mean(returns))


def write_minari(
    name: str, env_id: str, agent: str = "oracle", episodes: int = 1000, seed: int = 0, **options: Any
) -> Any:
    """Record episodes as the local Minari data set ``name``; it appears whole or not at all.

    A run that was stopped goes on where it was: batches that are done wait in the cache folder. The reference scores
    are the mean returns of the random actor and of the oracle on :data:`REFERENCE_EPISODES`.

    Args:
        name: e.g. ``refshapes/oracle-v0``.
        env_id: e.g. ``RefShapes-Ground-v0``.
        agent: see :func:`make_actor`.
        episodes: how many.
        seed: of the first episode; the next has the next.
        **options: of the environment; they override those of :func:`env_options`.

    Returns:
        The :class:`minari.MinariDataset`.

    Raises:
        VGGymError: Minari is not installed, its name is taken or malformed, or the agent or an option is unknown.
    """
    with importing("vg-gym minari", "minari", "minari"):
        import h5py  # noqa: F401
        import minari
    path = free_path(name)
    if episodes < 1:
        raise VGGymError(f"episodes={episodes} must be at least 1")
    arguments = {**env_options(agent, options), **options}
    envs: Any = gymnasium.make_vec(env_id, BATCH, autoreset_mode=AutoresetMode.DISABLED, **arguments)
    spec = copy.deepcopy(gymnasium.spec(env_id))
    spec.kwargs.update(arguments)
    recording = _Recording(envs, make_actor(agent, envs), GroundingSpec.of(spec), seed)
    who = find_agent(agent.removeprefix(PREFIX)) if agent.startswith(PREFIX) else agent
    below = [
        envs.engine.features.clip.fingerprint,
        place_mark(*map(str, arguments.values())),
        sorted(versions().items()),
    ]
    parts = cache_folder() / "minari" / fingerprint(recording.spec.to_json(), who, seed, below)[:16]
    done = recording.batches(parts, episodes, f"{name} by {agent}")
    references = ["random", "oracle"] if envs.engine.episodes.labeled else ["random"]
    scores = [mean_return(envs, make_actor(who, envs), REFERENCE_EPISODES, seed) for who in references]
    about = {
        "dataset_id": name,
        "algorithm_name": agent,
        "description": f"{episodes} episodes of {env_id} played by {agent}, seeds {seed} to {seed + episodes - 1}",
        "requirements": [f"vg_gym>={__version__}"],
        "minari_version": minari.__version__,
        "num_episodes_average_score": REFERENCE_EPISODES,
        **dict(zip(("ref_min_score", "ref_max_score"), scores, strict=False)),
    }
    recording.assemble(done, path, about)
    shutil.rmtree(parts)
    return minari.load_dataset(name)


def free_path(name: str) -> Path:
    """The folder of a new data set of Minari's; the namespace is made where it is not there.

    Raises:
        VGGymError: the name is malformed, or taken.
    """
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    try:
        namespace, _, _ = parse_dataset_id(name)
    except (ValueError, TypeError) as error:  # the second where there is no version
        raise VGGymError(f"{name!r} is no name of a Minari data set: write it as refshapes/oracle-v0") from error
    path = get_dataset_path(name)
    if path.exists():
        raise VGGymError(f"there is a Minari data set {name} already: choose another name, or minari delete {name}")
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    return path


class _Recording:
    """Batches of episodes in Minari's format, each in a folder, and all of them as one data set."""

    def __init__(self, envs: GroundingVectorEnv, actor: Actor, spec: GroundingSpec, seed: int):
        self.envs, self.actor, self.spec, self.seed = envs, actor, spec, seed

    def batches(self, folder: Path, episodes: int, what: str) -> list[Path]:
        """The folders of all batches; those that are there already are not played again."""
        found = []
        with tqdm(total=episodes, desc=what, unit="episode") as bar:
            for first in range(0, episodes, BATCH):
                count = min(BATCH, episodes - first)
                found.append(folder / f"{first:09}-{first + count:09}")
                if not found[-1].is_dir():
                    played = play(self.envs, self.actor, self.seed + first, count)
                    with replacing_folder(found[-1]) as part:
                        self._storage(part).update_episodes(_buffers(played))
                bar.update(count)
        return found

    def assemble(self, batches: list[Path], path: Path, about: dict[str, Any]) -> None:
        """Write the data set, whole or not at all."""
        from minari.dataset.minari_storage import MinariStorage

        with replacing_folder(path) as folder:
            whole = self._storage(folder / "data")
            for batch in batches:
                stored = MinariStorage.read(batch)
                whole.update_episodes(_buffers(stored.get_episodes(range(stored.total_episodes))))
            whole.update_metadata(about)

    def _storage(self, folder: Path) -> Any:
        from minari.dataset.minari_storage import MinariStorage

        spaces = self.envs.single_observation_space, self.envs.single_action_space
        return MinariStorage.new(folder, *spaces, self.spec, jpeg_encoding=False)  # JPEG is not what was seen


def _buffers(episodes: Any) -> list[Any]:
    """Minari's buffers of episodes, to be numbered anew."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    return [replace(EpisodeBuffer(**episode), id=None) for episode in episodes]
