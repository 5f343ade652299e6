"""What Gymnasium itself offers around an environment."""

import json
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers import FlattenObservation, RecordVideo
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import vg_gym  # noqa: F401
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.types import Query

ID = "RefShapes-Ground-v0"
SMALL = {"dataset_options": {"scenes": 2}, "max_steps": 3, "min_steps": 1}


def test_a_video_is_recorded_without_a_window(tmp_path):
    pytest.importorskip("moviepy", reason="RecordVideo writes with moviepy: pip install moviepy")
    env = RecordVideo(gym.make(ID, render_mode="rgb_array", **SMALL), str(tmp_path / "videos"), disable_logger=True)
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.array([2, 2, 2, 1, 0]))
    env.close()
    assert [path.suffix for path in (tmp_path / "videos").iterdir() if path.stat().st_size > 1000] == [".mp4"]


def test_the_checker_renders_in_every_mode(monkeypatch):
    pytest.importorskip("pygame", reason='a window needs pygame: pip install "vg_gym[play]"')
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    check_env(gym.make(ID, render_mode="rgb_array", **SMALL).unwrapped)  # what it finds it says in warnings


def test_a_line_of_text_is_a_frame():
    env = gym.make(ID, render_mode="ansi", **SMALL)
    env.reset(seed=0)
    env.step(np.array([2, 2, 2, 1, 0]))
    assert env.render().startswith("the ") and "step 1/3" in env.render() and "IoU" in env.render()


def test_processes_that_are_spawned_know_the_id():
    envs = AsyncVectorEnv([partial(gym.make, f"vg_gym:{ID}", **SMALL)] * 2, context="spawn")
    alone = gym.make(ID, **SMALL)
    observations, _ = envs.reset(seed=3)
    np.testing.assert_array_equal(observations["glimpses"][1], alone.reset(seed=4)[0]["glimpses"])
    envs.step(envs.action_space.sample())
    envs.close()


def test_wrappers_fit():
    env = FlattenObservation(gym.make(ID, **SMALL))
    assert env.reset(seed=0)[0].shape == env.observation_space.shape
    envs = RecordEpisodeStatistics(gym.make_vec(ID, 2, **SMALL))
    envs.reset(seed=0)
    for _ in range(3):
        *_, infos = envs.step(np.tile([2, 2, 2, 1, 0], (2, 1)))
    assert infos["episode"]["l"].tolist() == [3, 3]


def test_without_autoreset_the_caller_resets():
    envs = gym.make_vec(ID, 2, autoreset_mode=AutoresetMode.DISABLED, **SMALL)
    envs.reset(seed=0)
    for _ in range(3):
        _, _, _, truncated, _ = envs.step(np.tile([2, 2, 2, 1, 0], (2, 1)))
    assert truncated.all()
    envs.reset(options={"reset_mask": truncated})
    assert not envs.step(np.tile([2, 2, 2, 1, 0], (2, 1)))[3].any()


def test_a_spec_is_json():
    spec = gym.make(ID, **SMALL).spec
    again = gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json()))
    assert again.unwrapped.engine.options.max_steps == 3 and json.loads(spec.to_json())["id"] == ID


@pytest.mark.parametrize("make", [gym.make, partial(gym.make_vec, num_envs=2)])
def test_a_spec_with_objects_in_it_is_no_json_and_says_so(make, tiny_clip):
    samples = RefShapes("refshapes", "val", scenes=1)
    queries = [Query(samples[0].query.image, "the star", "a")]
    for name, value in {"dataset": queries, "dataset ": list(samples), " dataset": samples, "clip": tiny_clip}.items():
        spec = make(ID, **{name.strip(): value}).spec
        with pytest.raises(VGGymError, match=f"{name.strip()}= is an object") as caught:
            spec.to_json()
        assert isinstance(caught.value, TypeError)  # what Minari, for one, looks for


def test_wrappers_of_a_spec_are_kept():
    spec = FlattenObservation(gym.make(ID, max_episode_steps=2, **SMALL)).spec
    again = gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json()))
    assert again.spec.max_episode_steps == 2 and again.observation_space.shape


def test_gymnasium_s_own_loop_for_people(monkeypatch):
    pygame = pytest.importorskip("pygame", reason='utils.play needs pygame: pip install "vg_gym[play]"')
    from gymnasium.utils.play import play

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    typed, steps = [(pygame.KEYDOWN, "f"), (pygame.KEYDOWN, "l"), (pygame.KEYUP, "l"), (pygame.KEYUP, "f")], []
    events = ([pygame.event.Event(kind, key=ord(key))] for kind, key in typed)
    monkeypatch.setattr(pygame.event, "get", lambda: next(events, [pygame.event.Event(pygame.QUIT)]))
    env = gym.make(ID, render_mode="rgb_array", **SMALL | {"max_steps": 9})
    play(env, wait_on_player=True, noop=env.unwrapped.engine.actions.noop, callback=lambda *a: steps.append(a[2]))
    assert [step.tolist() for step in steps] == [[2, 2, 2, 2, 0], [3, 2, 2, 2, 0], [2, 2, 2, 2, 0]]
