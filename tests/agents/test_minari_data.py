import gc

import numpy as np
import pytest

from vg_gym.agents.minari_data import write_minari
from vg_gym.cli.entry import main
from vg_gym.errors import VGGymError

# Minari leaves its temporary folder to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Implicitly cleaning up", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SMALL = {"dataset_options": {"scenes": 3}, "reward": "iou"}


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setattr("vg_gym.agents.minari_data.REFERENCE_EPISODES", 3)
    pytest.importorskip("jax", reason="Minari writes with jax: pip install vg_gym[minari]")
    yield pytest.importorskip("minari", reason="needs the extra minari")
    gc.collect()


def test_recorded_episodes_play_again(minari):
    written = write_minari("refshapes/oracle-v0", "RefShapes-Ground-v0", "oracle", 4, 7, **SMALL)
    assert written.storage.metadata["ref_max_score"] > 0.5 > written.storage.metadata["ref_min_score"]
    read = minari.load_dataset("refshapes/oracle-v0")
    env = read.recover_environment()
    assert env.unwrapped.spec.id == "RefShapes-Ground-v0"
    episodes = list(read.iterate_episodes())
    assert len(episodes) == 4
    for number, episode in enumerate(episodes):
        observation = env.reset(seed=7 + number)[0]
        for step, action in enumerate(episode.actions):
            np.testing.assert_array_equal(observation["glimpses"], episode.observations["glimpses"][step])
            observation, reward, *_ = env.step(action)
            assert reward == pytest.approx(episode.rewards[step], abs=1e-6)
        assert bool(np.asarray(episode.infos["is_success"])[-1])
    with pytest.raises(VGGymError, match="already"):
        write_minari("refshapes/oracle-v0", "RefShapes-Ground-v0", "oracle", 4, 7, **SMALL)


def test_a_trained_agent_is_recorded(minari, capsys):
    main(["minari", "refshapes/clip-v0", "dataset_options.scenes=2", "--agent", "agent:refshapes-clip",
          "--episodes", "2"])  # fmt: skip
    assert "2 episodes" in capsys.readouterr().out
    assert minari.load_dataset("refshapes/clip-v0").total_episodes == 2


@pytest.mark.parametrize(
    ("name", "agent", "message"),
    [("refshapes/a-v0", "orakel", "oracle, random"), ("no version", "random", "Minari refuses"),
     ("refshapes/a-v0", "agent:nobody", "no agent")],
)  # fmt: skip
def test_mistakes_are_named(minari, name, agent, message):
    with pytest.raises(VGGymError, match=message):
        write_minari(name, "RefShapes-Ground-v0", agent, 1, 0, **SMALL)
