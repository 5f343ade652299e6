"""OpenEnv's interface over the environment in words."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from openenv.core.env_server.interfaces import Environment
from vg_gym.errors import VGGymError
from vg_gym.language_models.chat_api import data_url
from vg_gym.language_models.text_env import TextGroundingEnv, TextObservation

if __package__ == "server":  # started in the folder of the package, as in openenv.yaml
    from models import GroundingAction, GroundingObservation, GroundingState
else:
    from ..models import GroundingAction, GroundingObservation, GroundingState

_ONE_AT_A_TIME = threading.Lock()
"""Lock of all sessions, which share a CLIP with its caches; a step computes for milliseconds."""
_LOG = logging.getLogger(__name__)


@contextmanager
def _alone() -> Iterator[None]:
    """Lock out other sessions, and log an unexpected error with its traceback, which OpenEnv does not do."""
    with _ONE_AT_A_TIME:
        try:
            yield
        except VGGymError:  # a mistake of the client, whose message says all
            raise
        except Exception:
            _LOG.exception("a session of OpenEnv failed")
            raise


class GroundingEnvironment(Environment[GroundingAction, GroundingObservation, GroundingState]):
    """Session of one client.

    Args:
        **options: options of :class:`vg_gym.language_models.text_env.TextGroundingEnv`.

    Raises:
        VGGymError: an option is unknown or wrong.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, **options: Any):
        super().__init__()
        with _alone():
            self._env = TextGroundingEnv(**options)
        self._state = GroundingState()

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, index: int | None = None
    ) -> GroundingObservation:
        """Start an episode.

        Args:
            seed: seed of the episode; None: the next one of this session.
            episode_id: name of the episode in the state; None: a random one.
            index: index of the sample; None: drawn by the seed.
        """
        with _alone():
            observation, info = self._env.reset(seed=seed, options=None if index is None else {"index": index})
            self._state = GroundingState(episode_id=episode_id or str(uuid4()), **_truth(info))
            return self._observation(observation, info)

    def step(self, action: GroundingAction, timeout_s: float | None = None, **options: Any) -> GroundingObservation:
        """Act on an answer.

        Args:
            action: answer of the policy.
            timeout_s: unused, as a step takes milliseconds.
            **options: unused.
        """
        with _alone():
            observation, reward, terminated, truncated, info = self._env.step(action.answer)
            total = self._state.episode_return + float(reward)
            count = self._state.step_count + 1
            self._state = GroundingState(
                episode_id=self._state.episode_id, step_count=count, episode_return=total, **_truth(info)
            )
            return self._observation(
                observation, info, reward=float(reward), terminated=terminated, truncated=truncated,
                done=terminated or truncated, unreadable=info["unreadable"],
            )  # fmt: skip

    @property
    def state(self) -> GroundingState:
        """State of the episode, which knows the answer."""
        return self._state

    def close(self) -> None:
        """Close the environment."""
        self._env.env.close()

    def _observation(self, observation: TextObservation, info: dict[str, Any], **end: Any) -> GroundingObservation:
        return GroundingObservation(
            text=observation.text,
            image=data_url(observation.image),
            expression=self._env.env.engine.query(0).expression,
            box=[float(value) for value in info["box"]],
            step=int(self._env.env.engine.steps[0]),
            **end,
        )


def _truth(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a step tells about the true box; empty without one."""
    if info.get("iou") is None:
        return {}
    return {"iou": float(info["iou"]), "is_success": bool(info["is_success"])}
