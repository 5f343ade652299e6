import numpy as np
import pytest

from vg_gym.agents.publishing import minari_data
from vg_gym.agents.publishing.minari_data import write_minari
from vg_gym.cli.entry import main
from vg_gym.errors import VGGymError

SMALL = {"dataset_options": {"scenes": 3}, "reward": "iou"}
NAME, ENV, ANY = "refshapes/oracle-v0", "RefShapes-Ground-v0", "RefShapes-GroundAny-v0"


@pytest.fixture
def minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setattr(minari_data, "REFERENCE_EPISODES", 3)
    monkeypatch.setattr(minari_data, "EPISODES_PER_BATCH", 4)
    pytest.importorskip("h5py", reason='Minari writes with h5py: pip install "vg_gym[minari]"')
    return pytest.importorskip("minari", reason="needs the extra minari")


def same(a, b):
    """Whether two episodes are, in every part."""
    steps = ("actions", "rewards", "terminations", "truncations")
    parts = [({n: getattr(e, n) for n in steps}, e.observations, e.infos) for e in (a, b)]
    return all(x.keys() == y.keys() and all(np.array_equal(x[n], y[n]) for n in x) for x, y in zip(*parts, strict=True))


@pytest.mark.parametrize(("name", "agent"), [(ENV, "oracle"), (ENV, "random"), (ANY, "oracle"), (ANY, "random")])
def test_recorded_episodes_play_again(minari, name, agent):
    about = write_minari(NAME, name, agent, 6, 7, **SMALL).storage.metadata
    assert about["ref_max_score"] > 0.5 > about["ref_min_score"] and about["algorithm_name"] == agent
    read = minari.load_dataset(NAME)
    env = read.recover_environment()
    assert env.unwrapped.spec.id == name and read.total_episodes == 6
    returns = []
    for number, episode in enumerate(read.iterate_episodes()):
        observation, info = env.reset(seed=7 + number)
        returns.append(sum(episode.rewards))
        assert episode.infos["key"][0].decode() == info["key"]
        for step, action in enumerate(episode.actions):
            for part, values in observation.items():
                np.testing.assert_array_equal(values, episode.observations[part][step])
            observation, reward, terminated, truncated, info = env.step(action)
            assert (terminated, truncated) == (episode.terminations[step], episode.truncations[step])
            assert reward == episode.rewards[step] and info["iou"] == episode.infos["iou"][step + 1]
        assert terminated or truncated and len(episode.actions) == step + 1
        assert bool(episode.infos["is_success"][-1]) == info["is_success"]
    worst, best = (minari.get_normalized_score(read, np.array(about[f"ref_{end}_score"])) for end in ("min", "max"))
    assert (worst, best) == (0, 1)
    assert read.sample_episodes(2)[0].observations["box"].shape[1] == 8
    assert np.mean(returns[:3]) == pytest.approx(about["ref_max_score" if agent == "oracle" else "ref_min_score"])
    with pytest.raises(VGGymError, match="already"):
        write_minari(NAME, ENV, agent, 4, 7, **SMALL)


def test_a_run_that_was_stopped_goes_on(minari, monkeypatch):
    play, played = minari_data.play, []

    def stops(envs, actor, seed, count):
        if seed == 4 and not played.count(4):
            played.append(4)
            raise KeyboardInterrupt
        played.append(seed)
        return play(envs, actor, seed, count)

    monkeypatch.setattr(minari_data, "play", stops)
    with pytest.raises(KeyboardInterrupt):
        write_minari(NAME, ENV, "random", 10, **SMALL)
    assert NAME not in minari.list_local_datasets()
    stopped = write_minari(NAME, ENV, "random", 10, **SMALL)
    assert played[:4] == [0, 4, 4, 8]  # the first batch is not played again
    whole = write_minari("refshapes/whole-v0", ENV, "random", 10, **SMALL)
    assert all(map(same, stopped, whole)) and len(stopped) == len(whole) == 10
    other = write_minari("refshapes/other-v0", ENV, "random", 10, 1, **SMALL)  # nothing of another run's is taken
    assert same(other[0], whole[1]) is False and other[0].infos["key"][0] == whole[1].infos["key"][0]


@pytest.mark.parametrize("agent", ["oracle", "agent:refshapes-clip"])
@pytest.mark.parametrize("command", ["minari", "demonstrations"])
def test_both_commands_record_an_agent(minari, capsys, command, agent):
    name = "refshapes/clip-v0"
    line = [name] if command == "minari" else ["refshapes", "--format", "minari", "--out", name]
    main([command, *line, "--agent", agent, "--episodes", "2", "dataset_options.scenes=2"])
    assert "2 episodes" in capsys.readouterr().out
    read = minari.load_dataset(name)
    options = read.recover_environment().unwrapped.engine.options
    assert read.total_episodes == 2 and (options.action == "jump-edges") == (agent != "oracle")  # the agent's own
    assert read.storage.metadata["algorithm_name"] == agent
    assert all(episode.infos["iou"][-1] > 0.5 for episode in read.iterate_episodes())


@pytest.mark.parametrize("option", ["--mistakes=0.2", "--calls=tools", "--frame=pixels", "--size=64"])
def test_options_of_conversations_are_errors_for_minari(option, capsys):
    with pytest.raises(SystemExit):
        main(["demonstrations", "refshapes", "--format", "minari", "--out", NAME, option])
    assert f"{option.partition('=')[0]} is for --format chat" in capsys.readouterr().err


def test_mistakes_are_named_before_anything_is_played(minari, monkeypatch):
    monkeypatch.setattr(minari_data, "play", None)
    for name, agent, message in (
        (NAME, "orakel", "did you mean 'oracle'"),
        ("no version", "random", "write it as refshapes/oracle-v0"),
        ("oracle", "random", "write it as refshapes/oracle-v0"),
        (NAME, "agent:nobody", "no agent"),
    ):
        with pytest.raises(VGGymError, match=message):
            write_minari(name, ENV, agent, 1, 0, **SMALL)
    with pytest.raises(VGGymError, match="episodes=0"):
        write_minari(NAME, ENV, "random", 0)


def test_without_minari_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "minari", None)
    with pytest.raises(VGGymError, match=r'pip install "vg_gym\[minari\]"'):
        write_minari(NAME, ENV)
