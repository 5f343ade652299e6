"""Visual grounding for verifiers: a taskset, the environment that plays its tasks, and a chat harness.

The environment is the user of the conversation: it sends an image with a box, the model answers in words, and the box
moves. Episodes and rewards are those of ``gymnasium.make``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import verifiers.v1 as vf
from pydantic import Field
from verifiers.v1.dialects.chat import message_to_wire

from vg_gym import registry
from vg_gym.language_models.chat_api import data_url
from vg_gym.language_models.text_env import TextGroundingEnv, TextObservation

__all__ = ["GroundingEnv", "GroundingHarness", "GroundingTaskset"]


class GroundingData(vf.TaskData):
    """Sample of a data set, and the seed of its episode."""

    index: int
    """Index of the sample."""
    seed: int
    """Seed of the episode."""


class GroundingTask(vf.Task[GroundingData]):
    """Episode on one sample; :class:`GroundingEnv` opens its conversation and scores it."""


class GroundingTasksetConfig(vf.TasksetConfig):
    """Data set and options of the environment."""

    dataset: str = "refshapes"
    """Data set of ``vg-gym list datasets``, or a file of your own."""
    split: str = "train"
    """Split of the data set."""
    root: str | None = None
    """Folder of the data set on disk."""
    limit: int = Field(1000, ge=1)
    """Largest number of tasks, from the first sample on."""
    options: dict[str, Any] = {}
    """Other options of the environment in words, e.g. ``reward``, ``max_steps`` and ``frame``."""


class GroundingTaskset(vf.Taskset[GroundingTask, GroundingTasksetConfig]):
    """Tasks of a data set, one per expression."""

    def load(self) -> Iterator[GroundingTask]:
        """Yield the tasks in the order of the data set."""
        config = self.config
        data = registry.open_dataset(config.dataset, config.split, config.root)
        for index in range(min(config.limit, len(data))):
            yield GroundingTask(GroundingData(index=index, seed=index, name=f"{config.dataset}-{index}"), config.task)


class GroundingEnvConfig(vf.EnvConfig):
    """The model that plays."""

    agent: vf.AgentConfig = vf.AgentConfig(runtime=vf.SubprocessConfig())


class GroundingEnv(vf.Env[GroundingEnvConfig]):
    """One task becomes one conversation.

    The reward of an episode is the sum of its steps' rewards, ``episode_return``; ``info["rewards"]`` of the trace has
    them step by step. Metrics are ``steps``, ``unreadable`` (answers that moved nothing), ``terminated``,
    ``truncated``, ``iou`` and ``is_success``.
    """

    def __init__(self, config: GroundingEnvConfig):
        super().__init__(config)
        self._idle: list[TextGroundingEnv] = []

    async def run(self, task: GroundingTask, agents: vf.Agents) -> None:
        """Play one episode."""
        game = self._idle.pop() if self._idle else self._new_game()
        try:
            async with agents.agent.interaction(task) as talk:
                talk.trace.info["rewards"] = []
                metrics = await _play(game, task.data, talk)
        finally:
            self._idle.append(game)
        talk.trace.record_reward("episode_return", sum(talk.trace.info["rewards"]))
        talk.trace.record_metrics(metrics)

    def _new_game(self) -> TextGroundingEnv:
        config = self.taskset.config
        return TextGroundingEnv(dataset=config.dataset, split=config.split, root=config.root, **config.options)


async def _play(game: TextGroundingEnv, data: GroundingData, talk: vf.Interaction) -> dict[str, float]:
    """Play an episode, add its rewards to the trace step by step, and return its metrics.

    The episode stays without an end if the run of the model ends before it.
    """
    observation, info = game.reset(seed=data.seed, options={"index": data.index})
    rewards, unreadable, terminated, truncated = talk.trace.info["rewards"], 0, False, False
    while not (terminated or truncated):
        segment = await talk.turn([_message(observation)])
        if segment.terminated:
            break
        observation, reward, terminated, truncated, info = game.step(segment.last_reply)
        rewards.append(float(reward))
        unreadable += info["unreadable"]
    truth = {name: float(info[name]) for name in ("iou", "is_success") if info.get(name) is not None}
    ends = {"terminated": float(terminated), "truncated": float(truncated)}
    return {"steps": len(rewards), "unreadable": unreadable, **ends, **truth}


def _message(observation: TextObservation) -> vf.UserMessage:
    picture = vf.ImageUrlContentPart(image_url=vf.ImageUrlSource(url=data_url(observation.image)))
    return vf.UserMessage(content=[picture, vf.TextContentPart(text=observation.text)])


class GroundingHarnessConfig(vf.HarnessConfig):
    """Options of the harness."""


class GroundingHarness(vf.Harness[GroundingHarnessConfig]):
    """Chat without tools, in this process: one request to the model for each turn."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self, ctx: vf.ModelContext, trace: vf.Trace, runtime: vf.Runtime, endpoint: str, secret: str,
        mcp_urls: dict[str, str], data: vf.TaskData,
    ) -> vf.ProgramResult:  # fmt: skip
        """Send the conversation to the model; verifiers records its answer.

        Args:
            ctx: model.
            trace: trace of the rollout; unused.
            runtime: runtime of the rollout; unused.
            endpoint: address of the interception server up to the version.
            secret: key of the interception server.
            mcp_urls: tool servers; there are none.
            data: task whose prompt is the conversation.
        """
        system, prompt = self.resolve_prompt(data)
        opening = [{"role": "system", "content": system}] if system else []
        body = {"model": ctx.model, "messages": [*opening, *map(message_to_wire, prompt or [])]}
        async with httpx.AsyncClient(timeout=None, headers={"Authorization": f"Bearer {secret}"}) as client:
            answer = await client.post(f"{endpoint}/chat/completions", json=body)
        return vf.ProgramResult(exit_code=int(answer.status_code != 200), stdout="", stderr=answer.text)
