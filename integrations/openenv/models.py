"""Action, observation and state of the environment. Clients need only this module and ``openenv-core``."""

from pydantic import Field

from openenv.core.env_server.types import Action, Observation, State


class GroundingAction(Action):
    """Answer of a policy in words."""

    answer: str = Field(
        max_length=100_000,
        description="Moves of edges ('left in coarse, top out fine'), a new box ('[x1, y1, x2, y2]'), or 'stop'. "
        "Reasoning in <think> tags may stand before it.",
    )


class GroundingObservation(Observation):
    """Image with the current box, and the text that asks for an answer. It does not contain the true box."""

    text: str = Field(description="Task, current box, and format of the answer")
    image: str = Field(description="Image with the current box, a PNG as a data URL")
    expression: str = Field(description="Referring expression")
    box: list[float] = Field(description="Current box x1, y1, x2, y2 as fractions of the image's sides")
    step: int = Field(ge=0, description="Number of steps of the episode so far")
    terminated: bool = Field(default=False, description="True if the policy ended the episode")
    truncated: bool = Field(default=False, description="True if the episode reached its last step")
    unreadable: bool = Field(default=False, description="True if the last answer was not understood and moved nothing")

    def messages(self) -> list[dict]:
        """Return the observation as a message of OpenAI's chat completions."""
        picture = {"type": "image_url", "image_url": {"url": self.image}}
        return [{"role": "user", "content": [picture, {"type": "text", "text": self.text}]}]


class GroundingState(State):
    """State of the episode for evaluators. It knows the answer, so it must not reach a policy."""

    iou: float | None = Field(default=None, description="IoU with the true box; None without a true box")
    is_success: bool | None = Field(default=None, description="True if the IoU is at least 0.5")
    episode_return: float = Field(default=0.0, description="Sum of the rewards of the episode so far")
