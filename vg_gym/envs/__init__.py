"""The grounding environment: actions, rewards, observations, one engine, three faces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vg_gym.envs.grounding import GroundingEnv as GroundingEnv
    from vg_gym.envs.tensor_env import GroundingTensorEnv as GroundingTensorEnv
    from vg_gym.envs.vector import GroundingVectorEnv as GroundingVectorEnv


def __getattr__(name: str) -> Any:
    """Import torch and CLIP only when an environment class is asked for."""
    if name == "GroundingEnv":
        from vg_gym.envs.grounding import GroundingEnv

        return GroundingEnv
    if name == "GroundingVectorEnv":
        from vg_gym.envs.vector import GroundingVectorEnv

        return GroundingVectorEnv
    if name == "GroundingTensorEnv":
        from vg_gym.envs.tensor_env import GroundingTensorEnv

        return GroundingTensorEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
