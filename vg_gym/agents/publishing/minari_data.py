"""Episodes as a Minari data set, for offline RL: the actor, and the file.

Minari's own ``DataCollector`` steps one environment, and a run that stops early loses everything. Here a batch of
episodes is played in parallel, and each finished batch is stored until the data set is complete.
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
"""Function from observations of N rows to N actions."""
REFERENCE_EPISODES = 100
"""Number of episodes of the random actor and of the oracle, whose mean returns are the reference scores."""
EPISODES_PER_BATCH = 64
"""Number of episodes that are played in parallel and stored together."""
PREFIX = "agent:"
"""Prefix of the names of trained agents."""


def env_options(agent: str, typed: Collection[str] = ()) -> dict[str, Any]:
    """Return the options of the environment that an agent acts in: a trained agent's own, or those of :func:`make`.

    Args:
        agent: name of the actor, see :func:`make_actor`.
        typed: options of the user, which replace the agent's.

    Raises:
        VGGymError: the agent does not exist, or its options name code.
    """
    if not agent.startswith(PREFIX):
        return {"min_steps": 1}
    folder = find_agent(agent.removeprefix(PREFIX))
    about = read_about(folder)
    return {"min_steps": 1, **env_of(folder, about, typed), "features": "", "clip": about["clip"]}


def make_actor(agent: str, envs: GroundingVectorEnv) -> Actor:
    """Build an actor: ``oracle`` (which sees the target), ``random``, or ``agent:NAME``.

    Raises:
        VGGymError: the agent is unknown, or the oracle lacks labels.
    """
    engine = envs.engine
    if agent == "random":
        return lambda observations: envs.action_space.sample()
    if agent == "oracle":
        if not engine.episodes.labeled:
            raise VGGymError("the oracle moves towards the target box, which these data lack; use --agent random")
        return lambda observations: oracle_actions(engine)
    if not agent.startswith(PREFIX):
        raise unknown("agent", agent, ("oracle", "random", f"{PREFIX}NAME"))
    folder = find_agent(agent.removeprefix(PREFIX))
    policy = load_policy(folder, read_about(folder), engine)
    return lambda observations: policy.predict(observations, deterministic=True)[0]


def play(envs: GroundingVectorEnv, actor: Actor, seed: int, count: int) -> list[dict[str, Any]]:
    """Play the episodes with seeds ``seed``, ``seed + 1``, ..., each once.

    Args:
        envs: environments without autoreset.
        actor: actor; what it draws from ``envs.action_space`` depends only on ``seed``.
        seed: seed of the first episode.
        count: number of episodes, at most ``envs.num_envs``.

    Returns:
        For each episode the content of Minari's ``EpisodeBuffer``: ``seed``, ``observations`` and ``infos`` (of T + 1
        moments), ``actions``, ``rewards``, ``terminations`` and ``truncations`` (of T steps).
    """
    envs.action_space.seed(seed)
    observations, infos = envs.reset(seed=seed)
    all_observations, all_infos, steps = [observations], [infos], []
    alive, length = np.ones(envs.num_envs, dtype=bool), np.zeros(envs.num_envs, dtype=int)
    while alive[:count].any():
        actions = actor(observations)
        observations, *outcome, infos = envs.step(actions)
        all_observations.append(observations)
        all_infos.append(infos)
        steps.append((actions, *outcome))
        length += alive
        ended = outcome[1] | outcome[2]
        alive &= ~ended
        if ended.any() and alive[:count].any():  # rows that ended replay their episode, which is not recorded
            reset_options = {"reset_mask": ended, "index": envs.engine.index[ended]}
            observations = envs.reset(options=reset_options)[0]
    moments, columns = _stacked(all_observations), [np.stack(column) for column in zip(*steps, strict=True)]
    info_columns = _stacked([{name: values for name, values in info.items() if name[0] != "_"} for info in all_infos])
    names = ("actions", "rewards", "terminations", "truncations")
    return [
        {
            "seed": seed + row,
            "observations": {name: values[: length[row] + 1, row] for name, values in moments.items()},
            "infos": {name: _text(values[: length[row] + 1, row]) for name, values in info_columns.items()},
            **{name: column[: length[row], row] for name, column in zip(names, columns, strict=True)},
        }
        for row in range(count)
    ]


def _stacked(moments: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack T dicts of parts (N, ...) to parts (T, N, ...)."""
    return {name: np.stack([moment[name] for moment in moments]) for name in moments[0]}


def _text(values: np.ndarray) -> Any:
    """Convert texts to a list of ``str``, as Minari stores them, and return numbers unchanged."""
    return [str(value) for value in values] if values.dtype.kind in "OU" else values


def mean_return(envs: GroundingVectorEnv, actor: Actor, episodes: int, seed: int) -> float:
    """Return the mean return of an actor.

    Args:
        envs: environments without autoreset.
        actor: actor.
        episodes: number of episodes.
        seed: seed of the first episode.
    """
    returns: list[float] = []
    for first in range(0, episodes, envs.num_envs):
        played = play(envs, actor, seed + first, min(envs.num_envs, episodes - first))
        returns += [float(np.sum(episode["rewards"], dtype=np.float64)) for episode in played]
    return float(np.mean(returns))


def write_minari(
    name: str, env_id: str, agent: str = "oracle", episodes: int = 1000, seed: int = 0, **options: Any
) -> Any:
    """Record episodes as the local Minari data set ``name``, complete or not at all.

    A run that was stopped resumes where it was: finished batches are stored in the cache folder. The reference scores
    are the mean returns of the random actor and of the oracle on :data:`REFERENCE_EPISODES`.

    Args:
        name: name of the data set, e.g. ``refshapes/oracle-v0``.
        env_id: id of the environment, e.g. ``RefShapes-Ground-v0``.
        agent: name of the actor, see :func:`make_actor`.
        episodes: number of episodes.
        seed: seed of the first episode, which grows by 1 per episode.
        **options: options of the environment; they override those of :func:`env_options`.

    Returns:
        The :class:`minari.MinariDataset`.

    Raises:
        VGGymError: Minari is not installed, the name is taken or malformed, or the agent or an option is unknown.
    """
    with importing("vg-gym minari", "minari", "minari"):
        import h5py  # noqa: F401
        import minari
    path = free_path(name)
    if episodes < 1:
        raise VGGymError(f"episodes={episodes} must be at least 1")
    arguments = {**env_options(agent, options), **options}
    envs: Any = gymnasium.make_vec(env_id, EPISODES_PER_BATCH, autoreset_mode=AutoresetMode.DISABLED, **arguments)
    spec = copy.deepcopy(gymnasium.spec(env_id))
    spec.kwargs.update(arguments)
    recording = _Recording(envs, make_actor(agent, envs), GroundingSpec.of(spec), seed)
    who = find_agent(agent.removeprefix(PREFIX)) if agent.startswith(PREFIX) else agent
    parts_marks = [
        envs.engine.features.clip.fingerprint,
        place_mark(*map(str, arguments.values())),
        sorted(versions().items()),
    ]
    parts = cache_folder() / "minari" / fingerprint(recording.spec.to_json(), who, seed, parts_marks)[:16]
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
    """Return the folder of a new Minari data set; its namespace is created if necessary.

    Raises:
        VGGymError: the name is malformed, or taken.
    """
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace, list_local_namespaces
    from minari.storage import get_dataset_path

    try:
        namespace, _, _ = parse_dataset_id(name)
    except (ValueError, TypeError) as error:  # TypeError is raised for a missing version
        raise VGGymError(f"{name!r} does not name a Minari data set: write it as refshapes/oracle-v0") from error
    path = get_dataset_path(name)
    if path.exists():
        raise VGGymError(f"the Minari data set {name} exists already: choose another name, or minari delete {name}")
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
    return path


class _Recording:
    """Batches of episodes in Minari's format, each in a folder, and the data set of all of them."""

    def __init__(self, envs: GroundingVectorEnv, actor: Actor, spec: GroundingSpec, seed: int):
        self.envs, self.actor, self.spec, self.seed = envs, actor, spec, seed

    def batches(self, folder: Path, episodes: int, what: str) -> list[Path]:
        """Play the batches that are not stored yet, and return the folders of all batches."""
        folders = []
        with tqdm(total=episodes, desc=what, unit="episode") as bar:
            for first in range(0, episodes, EPISODES_PER_BATCH):
                count = min(EPISODES_PER_BATCH, episodes - first)
                folders.append(folder / f"{first:09}-{first + count:09}")
                if not folders[-1].is_dir():
                    played = play(self.envs, self.actor, self.seed + first, count)
                    with replacing_folder(folders[-1]) as part:
                        self._storage(part).update_episodes(_buffers(played))
                bar.update(count)
        return folders

    def assemble(self, batches: list[Path], path: Path, about: dict[str, Any]) -> None:
        """Write the data set, complete or not at all."""
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
        return MinariStorage.new(folder, *spaces, self.spec, jpeg_encoding=False)  # JPEG would change observations


def _buffers(episodes: Any) -> list[Any]:
    """Return Minari's buffers of episodes without numbers, so that the data set numbers them again."""
    from minari.data_collector.episode_buffer import EpisodeBuffer

    return [replace(EpisodeBuffer(**episode), id=None) for episode in episodes]
