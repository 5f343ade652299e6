"""The taskset of verifiers: loading, and rollouts with a model behind a server on loopback that answers by a script."""

import asyncio
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.chat_server import completion, refusal, serving
from vg_gym.language_models.text_env import TextGroundingEnv

vf = pytest.importorskip("verifiers.v1")

FOLDER = Path(__file__).parents[2] / "integrations/verifiers"
OPTIONS = {"reward": "iou", "action": "multi-edges", "max_steps": 6, "min_steps": 0}
ANSWERS = ["[250, 250, 750, 750]", "left in coarse, right out fine", "nonsense", "stop"]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


def config(limit=3, **agent):
    from verifiers.v1.utils.loaders import resolve_env_config

    taskset = {"id": "vg-gym-grounding", "split": "val", "limit": limit, "options": OPTIONS}
    return resolve_env_config({"taskset": taskset, "agent": {"runtime": {"type": "subprocess"}, **agent}})


def episodes(base, environment, count):
    """Play the first tasks with the model behind a server, all at once."""
    client = vf.EvalClientConfig(base_url=base, api_key_var="VG_GYM_TEST_KEY")
    context = vf.ModelContext(client=client, model="scripted", sampling=vf.SamplingConfig())

    async def run():
        async with environment.serving():
            tasks = list(environment.taskset.take(count))
            return await asyncio.gather(*(environment.run_episode(task, context) for task in tasks))

    return asyncio.run(run())


def by_turn(body):
    """Answer of the turn: the number of user messages is the number of the turn."""
    turn = sum(message["role"] == "user" for message in body["messages"])
    assert [part["type"] for part in body["messages"][-1]["content"]] == ["image_url", "text"]
    return completion(ANSWERS[turn - 1])


def in_gymnasium(index):
    env = TextGroundingEnv(dataset="refshapes", split="val", **OPTIONS)
    env.reset(seed=index, options={"index": index})
    rewards, is_over = [], False
    while not is_over:
        _, reward, terminated, truncated, info = env.step(ANSWERS[len(rewards)])
        rewards.append(reward)
        is_over = terminated or truncated
    return rewards, info


def test_the_taskset_loads_by_its_name():
    from verifiers.v1.utils.loaders import load_environment, load_taskset

    environment = load_environment(config(limit=5))
    assert type(environment).__name__ == "GroundingEnv" and type(environment.taskset).__name__ == "GroundingTaskset"
    tasks = list(load_taskset(environment.config.taskset))
    assert [(task.data.idx, task.data.index, task.data.seed) for task in tasks] == [(n, n, n) for n in range(5)]
    assert len({task.key for task in tasks}) == 5 and tasks[0].data.prompt is None
    assert [harness.id for harness in environment.config.agent_harnesses().values()] == ["vg-gym-grounding"]


def test_rollouts_have_the_rewards_of_gymnasium():
    from verifiers.v1.utils.loaders import load_environment

    with serving(by_turn) as stub:
        played = episodes(stub.base, load_environment(config()), 3)
    assert len(stub.requests) == 12
    for index, episode in enumerate(played):
        assert episode.ok, episode.errors
        [trace] = episode.traces
        rewards, info = in_gymnasium(index)
        np.testing.assert_allclose(trace.info["rewards"], rewards, atol=1e-6, rtol=0)
        assert trace.reward == pytest.approx(sum(rewards), abs=1e-6)
        assert trace.metrics["iou"] == pytest.approx(float(info["iou"]), abs=1e-6)
        assert (trace.metrics["steps"], trace.metrics["unreadable"]) == (4, 1) and trace.num_turns == 4
        assert (trace.metrics["terminated"], trace.metrics["truncated"]) == (1, 0)


def test_a_run_that_reaches_its_limit_of_turns_is_scored_so_far():
    from verifiers.v1.utils.loaders import load_environment

    with serving(by_turn) as stub:
        [episode] = episodes(stub.base, load_environment(config(max_turns=2)), 1)
    [trace] = episode.traces
    assert trace.metrics["steps"] == 2 and trace.info["rewards"] == pytest.approx(in_gymnasium(0)[0][:2], abs=1e-6)


def test_a_model_that_fails_is_an_error_of_its_episode():
    from verifiers.v1.utils.loaders import load_environment

    with serving(lambda body: refusal(400, "no such model")) as stub:
        [episode] = episodes(stub.base, load_environment(config()), 1)
    assert not episode.ok


def test_the_package_names_its_module():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    for module in project["tool"]["setuptools"]["py-modules"]:
        assert (FOLDER / f"{module}.py").is_file()
