"""Agents on disk: weights as safetensors, everything else as JSON. Loading an agent runs no code from its files.

The folder of a run holds ``config.yaml``, ``best/`` and ``last/``. Each of the two is an agent: ``agent.json``
(algorithm, network, CLIP, data set and environment options) and ``policy.safetensors``. ``last/`` also has
``state.pt``, from which the run can be resumed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_model, save, save_model
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from vg_gym import registry
from vg_gym.agents.policy import GroundingExtractor, GroundingPolicy
from vg_gym.agents.publishing.hub import ABOUT, HUB, WEIGHTS, check_portable, fetch_agent
from vg_gym.config import options_from
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError, nearest, one_line, unknown
from vg_gym.runtime.interrupts import uninterrupted
from vg_gym.storage.assets import built_in, built_in_names
from vg_gym.storage.files import replacing_folder, write_json
from vg_gym.storage.tensor_files import read_tensors

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {"ppo": PPO, "dqn": DQN}
REQUIRED_TYPES = {"algo": str, "width": int, "clip": str, "env": dict}
"""Keys that every ``agent.json`` has, with the types of their values."""


def policy_of(algo: str) -> type[BasePolicy]:
    """Return the policy class of an algorithm."""
    return GroundingPolicy if algo == "ppo" else ALGORITHMS[algo].policy_aliases["MultiInputPolicy"]


def policy_arguments(algo: str, width: int) -> dict[str, Any]:
    """Return SB3's ``policy_kwargs`` for the network of this module."""
    hidden = [256] if algo == "dqn" else {"pi": [256], "vf": [256]}
    return {
        "features_extractor_class": GroundingExtractor,
        "features_extractor_kwargs": {"width": width},
        "net_arch": hidden,
        "activation_fn": torch.nn.ReLU,
    }


def save_agent(folder: Path, model: BaseAlgorithm, about: dict[str, Any], minutes: float | None = None) -> None:
    """Write an agent, complete or not at all.

    Args:
        folder: folder of the agent; an existing one is replaced.
        model: model whose policy is saved.
        about: content of ``agent.json``: ``algo``, ``width``, ``clip``, ``dataset``, ``env`` and metrics.
        minutes: minutes of learning so far; if given, the optimiser and the counts for resuming are saved too.
    """
    with uninterrupted(), replacing_folder(folder) as part:
        # save_model and load_model handle tensors that modules share, as SB3's actor and critic share encoders.
        save_model(model.policy, str(part / WEIGHTS))
        # Its list of shared tensors has a random order; writing the tensors again makes equal weights equal files.
        (part / WEIGHTS).write_bytes(save(load((part / WEIGHTS).read_bytes())))
        if minutes is not None:
            counts = {"steps": model.num_timesteps, "updates": model._n_updates, "minutes": minutes}
            state = {"optimizer": model.policy.optimizer.state_dict(), **counts}
            with (part / "state.pt").open("wb") as file:
                torch.save(state, file)
        write_json(part / ABOUT, about)


def read_resumable(folder: Path) -> dict[str, Any]:
    """Return the ``agent.json`` of an agent from which a run can be resumed.

    Raises:
        VGGymError: the agent is missing or incomplete.
    """
    if not (folder / "state.pt").is_file():
        raise VGGymError(f"nothing to resume: no {folder / 'state.pt'}; leave resume out, or name the run with out=")
    return read_about(folder)


def minutes_of(folder: Path) -> float:
    """Return the minutes of learning of a resumable agent.

    Raises:
        VGGymError: the file is damaged.
    """
    path = folder / "state.pt"
    try:
        return float(read_tensors(path, "cpu", "start again with fresh=true").get("minutes", 0.0))
    except (ValueError, TypeError, AttributeError) as error:
        raise VGGymError(f"{path} is damaged ({one_line(error)}); start again with fresh=true") from error


def load_state(model: BaseAlgorithm, folder: Path) -> None:
    """Load weights, optimiser and counts of a resumable agent into a model.

    Raises:
        VGGymError: a file is damaged or belongs to another network.
    """
    path = folder / "state.pt"
    load_weights(model.policy, folder)
    state = read_tensors(path, model.device, "start again with fresh=true")
    try:
        model.policy.optimizer.load_state_dict(state["optimizer"])
        model.num_timesteps, model._n_updates = int(state["steps"]), int(state.get("updates", 0))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise VGGymError(f"{path} is damaged ({reason}); start again with fresh=true") from error


def find_agent(name: str, revision: str | None = None) -> Path:
    """Return the folder of an agent: a built-in one (``refshapes``), a run (its best, else its last), or ``best/``.

    ``hub:ORG/NAME`` is downloaded from the hub (:mod:`vg_gym.agents.publishing.hub`).

    Args:
        name: name of the agent.
        revision: commit, tag or branch of an agent on the hub; default: its main branch.

    Raises:
        VGGymError: the agent does not exist.
    """
    if name.startswith(HUB):
        fetched = fetch_agent(name.removeprefix(HUB), revision)
        check_portable(read_about(fetched), name)
        return fetched
    if revision is not None:
        raise VGGymError(f"revision={revision} applies to agents on the hub, agent:hub:ORG/NAME, and not to {name!r}")
    candidates = [built_in("agent", name), Path(name) / "best", Path(name) / "last", Path(name)]
    for folder in candidates:
        if folder and (folder / ABOUT).is_file():
            return folder
    names = built_in_names("agent")
    raise VGGymError(
        f"no agent {name!r}: not a run folder with best/ or last/, nor hub:ORG/NAME, nor one of {', '.join(names)}; "
        f"{nearest(name, names) or 'train_agent.py trains one'}".rstrip()
    )


def read_about(folder: Path) -> dict[str, Any]:
    """Return the ``agent.json`` of an agent.

    Raises:
        VGGymError: the file is missing, is not JSON, or lacks a required key.
    """
    try:
        about = json.loads((folder / ABOUT).read_text())
        for name, kind in REQUIRED_TYPES.items():
            if not isinstance(about[name], kind):
                raise ValueError(f"{name} is {about[name]!r:.40}")
        if not isinstance(about["env"].setdefault("initial_box", "full"), str):
            raise ValueError(f"initial_box is {about['env']['initial_box']!r:.40}")
        return about
    except FileNotFoundError as error:
        raise VGGymError(f"{folder} is incomplete: it lacks agent.json; train the agent with fresh=true") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise VGGymError(f"{folder / ABOUT} is damaged ({error}); train the agent again") from error


def env_of(folder: Path, about: Mapping[str, Any], typed: Collection[str] = ()) -> dict[str, Any]:
    """Return the environment options of an agent, after a check that the file cannot have code imported.

    Args:
        folder: folder of the agent.
        about: ``agent.json`` of the agent, from :func:`read_about`.
        typed: options of the user, which replace those of the file.

    Raises:
        VGGymError: an option is unknown or out of range, or names code.
    """
    env = dict(about["env"])
    options_from(EnvOptions, env)
    if "initial_box" not in typed:
        for name in env["initial_box"].split(","):
            remedy = f"give the agent the option initial_box={name.strip()}"
            registry.refuse_code(registry.GrounderSpec, name.strip(), f"{folder / ABOUT}: env.initial_box", remedy)
    return env


def load_policy(folder: Path, about: dict[str, Any], engine: GroundingEngine, device: str = "cpu") -> BasePolicy:
    """Build the policy of an agent for an environment and load its weights.

    Args:
        folder: folder of the agent.
        about: ``agent.json`` of the agent, from :func:`read_about`.
        engine: engine that determines the policy's observation and action spaces.
        device: torch device of the policy.

    Raises:
        VGGymError: the algorithm is unknown, or the weights are damaged or belong to another environment.
    """
    if about["algo"] not in ALGORITHMS:
        raise unknown("algorithm", about["algo"], ALGORITHMS)
    policy_class = policy_of(about["algo"])
    policy = policy_class(
        engine.observation_space,
        engine.actions.space,
        lambda _: 0.0,
        **policy_arguments(about["algo"], about["width"]),
        optimizer_class=_no_optimizer,  # type: ignore[arg-type]
    )
    load_weights(policy, folder)
    policy.set_training_mode(False)
    return policy.to(device)


def _no_optimizer(parameters: Any, **options: Any) -> None:
    """Build no optimiser, since torch imports its compiler with the first one, which takes a second."""


def load_weights(policy: BasePolicy, folder: Path) -> None:
    """Load an agent's weights into a policy.

    Raises:
        VGGymError: the file is missing, damaged or belongs to another environment.
    """
    path = folder / WEIGHTS
    try:
        load_model(policy, path)
    except (SafetensorError, OSError) as error:
        raise VGGymError(f"{path} is missing or damaged ({error}); train the agent again") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise VGGymError(
            f"{path} belongs to another environment ({reason}); use the action, observation and clip of its training: "
            f"see {folder / ABOUT}"
        ) from error
