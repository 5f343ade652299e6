"""Visual grounding for OpenEnv: typed actions and observations, a client, and a server over HTTP and WebSockets."""

from .client import GroundingEnv
from .models import GroundingAction, GroundingObservation, GroundingState

__all__ = ["GroundingAction", "GroundingEnv", "GroundingObservation", "GroundingState"]
