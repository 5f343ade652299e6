"""Ways to play the environment over HTTP: the packages for OpenEnv and verifiers, each with a server on loopback."""

import asyncio
import json
import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from experiments.faces import FRAME, SIZE, Episode, Player, Step, StepFace
from tests.chat_server import completion, refusal, serving

TIMEOUT_S = 600
"""Longest wait for a server or for an answer in seconds."""
POLL_S = 0.05
"""Time between two looks whether a server has started in seconds."""


class OpenEnvFace(StepFace):
    """Client and server of the OpenEnv package, which talk over a WebSocket."""

    def __init__(self, options: dict[str, Any]):
        import uvicorn
        from vg_gym_openenv import GroundingAction, GroundingEnv

        os.environ["VG_GYM_OPTIONS"] = json.dumps({**options, "frame": FRAME, "size": SIZE})
        server = uvicorn.Server(uvicorn.Config("vg_gym_openenv.server.app:app", port=0, log_level="warning"))
        threading.Thread(target=server.run, daemon=True).start()
        for _ in range(int(TIMEOUT_S / POLL_S)):
            if server.started:
                break
            time.sleep(POLL_S)
        else:
            raise TimeoutError(f"OpenEnv's server did not start within {TIMEOUT_S} s")
        port = server.servers[0].sockets[0].getsockname()[1]
        self.action = GroundingAction
        self.env = GroundingEnv(base_url=f"http://127.0.0.1:{port}", message_timeout_s=TIMEOUT_S).sync()

    def reset(self, index: int) -> None:
        """See :class:`StepFace`."""
        self.env.reset(seed=index, index=index)

    def act(self, words: str) -> tuple[None, Step]:
        """See :class:`StepFace`."""
        result = self.env.step(self.action(answer=words))
        ends = result.observation.terminated, result.observation.truncated
        return None, (result.reward, ends, self.env.state().iou)


class VerifiersFace:
    """Rollouts of the verifiers package with a model behind a server, which repeats the answers."""

    def __init__(self, options: dict[str, Any]):
        import vg_gym_grounding  # noqa: F401 - a missing package is an error here, not in the first episode
        from verifiers.v1.utils.loaders import load_environment, resolve_env_config

        words = {name: value for name, value in options.items() if name not in ("dataset", "split")}
        taskset = {
            "id": "vg-gym-grounding", "dataset": options["dataset"], "split": options["split"],
            "options": {**words, "frame": FRAME, "size": SIZE},
        }  # fmt: skip
        self.env = load_environment(resolve_env_config({"taskset": taskset}))

    def play(self, player: Player, episodes: int, answers: Sequence[Sequence[str]]) -> list[Episode]:
        """See :class:`~experiments.faces.Face`; the name of the model is the number of the episode."""

        def say(body: dict[str, Any]) -> tuple[int, dict, str]:
            turn = sum(message["role"] == "user" for message in body["messages"])
            words = answers[int(body["model"])]
            return completion(words[turn - 1]) if turn <= len(words) else refusal(400, "the answers end here")

        with serving(say) as model:
            rollouts = asyncio.run(self._play(model.base, episodes))
        return list(zip(rollouts, map(list, answers), strict=True))

    async def _play(self, base: str, episodes: int) -> list[list[Step]]:
        """Return the steps of the first episodes.

        Raises:
            RuntimeError: an episode failed.
        """
        import verifiers.v1 as vf

        client, played = vf.EvalClientConfig(base_url=base, api_key_var="VG_GYM_NO_KEY"), []
        async with self.env.serving():
            for index, task in enumerate(self.env.taskset.take(episodes)):
                model = vf.ModelContext(client=client, model=str(index), sampling=vf.SamplingConfig())
                episode = await self.env.run_episode(task, model)
                if not episode.ok:
                    raise RuntimeError(f"episode {index}: {episode.errors}")
                played.append(_steps(episode.traces[0]))
        return played


def _steps(trace: Any) -> list[Step]:
    """Return the steps of a trace of verifiers, which tells the end and the IoU of the last one alone."""
    *rewards, last = trace.info["rewards"]
    ends = trace.metrics["terminated"] == 1, trace.metrics["truncated"] == 1
    return [*((reward, (False, False), math.nan) for reward in rewards), (last, ends, trace.metrics["iou"])]
