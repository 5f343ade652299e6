"""Client of the server; each client plays its own episodes."""

from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed

from openenv.core import EnvClient
from openenv.core.client_types import StepResult

from .models import GroundingAction, GroundingObservation, GroundingState


class GroundingEnv(EnvClient[GroundingAction, GroundingObservation, GroundingState]):
    """Client for ``async with``; ``GroundingEnv(base_url=...).sync()`` is one for ``with``.

    ``reset(seed=..., index=...)`` starts the episode of a sample; without ``index`` the seed draws it.
    """

    async def _send(self, message: dict[str, Any]) -> None:
        with suppress(ConnectionClosed):  # a server without a free place says so, then closes; the next read gets that
            await super()._send(message)

    def _step_payload(self, action: GroundingAction) -> dict[str, Any]:
        return action.model_dump(exclude={"metadata"})

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[GroundingObservation]:
        reward, done = payload.get("reward"), payload["done"]
        observation = GroundingObservation(**payload["observation"], reward=reward, done=done)
        return StepResult(observation=observation, reward=reward, done=done)

    def _parse_state(self, payload: dict[str, Any]) -> GroundingState:
        return GroundingState.model_validate(payload)
