"""The OpenEnv package: a server on loopback, clients that play, that play at once, and that die."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

pytest.importorskip("openenv.core")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations/openenv"
OPTIONS = {
    "dataset": "refshapes",
    "split": "val",
    "reward": "iou",
    "action": "multi-edges",
    "max_steps": 6,
    "min_steps": 0,
}
ANSWERS = ["[250, 250, 750, 750]", "left in coarse, right out fine", "nonsense", "stop"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package under the name by which it is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "vg_gym_openenv").symlink_to(FOLDER)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def served(site, sessions=3, arguments=("-m", "vg_gym_openenv.server.app"), cwd=None, **environment):
    """Address of a server in a process of its own, as users start it; its folder must outlive it."""
    port = free_port()
    env = {
        **os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "VG_GYM_OPTIONS": json.dumps(OPTIONS),
        "VG_GYM_SESSIONS": str(sessions), **environment,
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, *arguments, "--port", str(port)], env=env, cwd=cwd or site)
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_for(f"{base}/health", process)
        yield base
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(address, process):
    for _ in range(3000):
        assert process.poll() is None, "the server ended"
        try:
            return urllib.request.urlopen(address, timeout=5).read()
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} does not answer")


@pytest.fixture(scope="module")
def server(site):
    with served(site) as base:
        yield base


def client(base):
    from vg_gym_openenv import GroundingEnv

    return GroundingEnv(base_url=base, message_timeout_s=300).sync()


def play(env, index, answers=ANSWERS):
    """Observations and rewards of an episode."""
    from vg_gym_openenv import GroundingAction

    results = [env.reset(seed=index, index=index)]
    while not results[-1].done:
        results.append(env.step(GroundingAction(answer=answers[len(results) - 1])))
    return [result.observation for result in results], [result.reward for result in results[1:]]


def in_gymnasium(index, answers=ANSWERS):
    """Rewards and last info of the same answers in the environment in words."""
    from vg_gym.language_models.text_env import TextGroundingEnv

    env = TextGroundingEnv(**OPTIONS)
    env.reset(seed=index, options={"index": index})
    rewards, is_over = [], False
    while not is_over:
        _, reward, terminated, truncated, info = env.step(answers[len(rewards)])
        rewards.append(reward)
        is_over = terminated or truncated
    return rewards, info


def test_an_episode_is_that_of_gymnasium(server):
    with client(server) as env:
        for index in range(3):
            observations, rewards = play(env, index)
            expected, info = in_gymnasium(index)
            np.testing.assert_allclose(rewards, expected, atol=1e-6, rtol=0)
            state = env.state()
            assert state.iou == pytest.approx(float(info["iou"]), abs=1e-6) and state.step_count == len(rewards)
            assert state.episode_return == pytest.approx(sum(expected), abs=1e-6)
    last = observations[-1]
    assert last.done and last.terminated and not last.truncated and last.step == 4
    assert [o.unreadable for o in observations] == [False, False, False, True, False]
    assert observations[1].box == pytest.approx([0.25, 0.25, 0.75, 0.75])


def test_an_observation_is_a_question_with_a_picture_and_without_the_answer(server):
    with client(server) as env:
        observation = env.reset(seed=0, index=0).observation
    assert observation.expression in observation.text and observation.box == [0, 0, 1, 1]
    picture = Image.open(io.BytesIO(base64.b64decode(observation.image.partition(",")[2])))
    assert max(picture.size) >= 512
    [message] = observation.messages()
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    assert not {"iou", "is_success", "target"} & set(observation.model_dump())


def test_several_clients_play_their_own_episodes_at_once(server):
    outcomes = {}

    def one(index):
        with client(server) as env:
            outcomes[index] = [play(env, index)[1] for _ in range(2)]

    threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    for index in range(3):
        expected = in_gymnasium(index)[0]
        for rewards in outcomes[index]:
            np.testing.assert_allclose(rewards, expected, atol=1e-6, rtol=0)


DIES = """
import os
from vg_gym_openenv import GroundingAction, GroundingEnv
env = GroundingEnv(base_url={base!r}, message_timeout_s=300).sync()
env.reset(seed=0, index=0)
env.step(GroundingAction(answer="stay"))
print("dying", flush=True)
os._exit(1)
"""


def test_a_client_that_dies_frees_its_place(site):
    with served(site, sessions=1) as base:
        done = subprocess.run(
            [sys.executable, "-c", DIES.format(base=base)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(site)},
        )  # fmt: skip
        assert done.stdout.strip() == "dying", done.stderr
        assert _plays_soon(base) == 4


def _plays_soon(base):
    """Length of an episode, once the server has noticed that the last client is gone."""
    for _ in range(100):
        try:
            with client(base) as env:
                return len(play(env, 1)[1])
        except (RuntimeError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError("the place of the dead client stays taken")


def test_one_client_too_many_is_an_error_and_harms_nobody(site):
    with served(site, sessions=1) as base, client(base) as env:
        env.reset(seed=0, index=0)
        with pytest.raises(RuntimeError, match="CAPACITY_REACHED"):  # noqa: SIM117
            with client(base) as other:
                other.reset(seed=0, index=1)
        np.testing.assert_allclose(play(env, 0)[1], in_gymnasium(0)[0], atol=1e-6, rtol=0)


def test_mistakes_are_errors_of_the_client_that_makes_them(server):
    from vg_gym_openenv import GroundingAction

    with client(server) as env:
        with pytest.raises(RuntimeError, match="reset"):
            env.step(GroundingAction(answer="stay"))
        with pytest.raises(RuntimeError, match="outside"):
            env.reset(index=10**9)
        assert len(play(env, 0)[1]) == 4


def test_an_unexpected_error_is_logged_with_its_traceback(site, caplog):
    from vg_gym_openenv.server.grounding_environment import GroundingEnvironment

    broken = GroundingEnvironment.__new__(GroundingEnvironment)
    with pytest.raises(AttributeError):
        broken.reset(seed=0)
    [record] = caplog.records
    assert record.exc_info is not None and "failed" in record.message


def test_the_schema_and_the_page_for_a_browser(site):
    arguments = ("-m", "uvicorn", "server.app:app")  # as openenv.yaml names it
    with served(site, arguments=arguments, cwd=FOLDER, ENABLE_WEB_INTERFACE="true") as base:
        schema = json.loads(urllib.request.urlopen(f"{base}/schema").read())
        assert "answer" in schema["action"]["properties"] and "image" in schema["observation"]["properties"]
        page = urllib.request.urlopen(f"{base}/web/").read().decode()
    assert "gradio" in page


def test_the_package_names_what_is_there(site):
    manifest = yaml.safe_load((FOLDER / "openenv.yaml").read_text())
    assert (FOLDER / manifest["app"].partition(":")[0].replace(".", "/")).with_suffix(".py").is_file()
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())
    assert project["project"]["scripts"]["server"] == "vg_gym_openenv.server.app:main"
    assert set(project["tool"]["setuptools"]["packages"]) == {"vg_gym_openenv", "vg_gym_openenv.server"}
    from openenv.cli._validation import validate_multi_mode_deployment

    assert validate_multi_mode_deployment(FOLDER)[1] == ["Missing uv.lock - run 'uv lock' to generate it"]


def test_the_dockerfile_copies_what_the_packages_are_made_of():
    lines = (FOLDER / "server/Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    assert {"setup.cfg", "pyproject.toml", "README.md", "LICENSE", "vg_gym", "integrations/openenv"} <= copied
    assert all((ROOT / source).exists() for source in copied)
    [command] = [json.loads(line.removeprefix("CMD ")) for line in lines if line.startswith("CMD ")]
    scripts = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["scripts"]
    assert command[0] in scripts
