import json
from types import SimpleNamespace

import pytest
import torch

from vg_gym.agents.checkpoint import find_agent, load_policy, read_about, save_agent
from vg_gym.clip.loader import load_clip
from vg_gym.config import options_from
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.errors import VGGymError
from vg_gym.storage.assets import built_in_names


def environment(folder, episodes, **changes):
    """An environment that suits a saved agent."""
    about = read_about(folder)
    options = options_from(EnvOptions, {**about["env"], "initial_box": "full", "reward": "clip", **changes})
    return about, GroundingEngine(Episodes(episodes), load_clip(about["clip"]), 2, options)


@pytest.mark.parametrize("name", built_in_names("agent"))
def test_built_in_agents_load_and_survive_a_round_trip(name, blind, tmp_path):
    folder = find_agent(name)
    about, engine = environment(folder, blind)
    policy = load_policy(folder, about, engine)
    save_agent(tmp_path / "best", SimpleNamespace(policy=policy), about)
    assert find_agent(str(tmp_path)) == tmp_path / "best"
    again = load_policy(tmp_path / "best", read_about(tmp_path / "best"), engine)
    for key, weights in policy.state_dict().items():
        assert torch.equal(weights, again.state_dict()[key]), key
    save_agent(tmp_path / "last", SimpleNamespace(policy=again), about)
    files = [(tmp_path / name / "policy.safetensors").read_bytes() for name in ("best", "last")]
    assert files[0] == files[1] and b"__metadata__" not in files[0]


def test_what_does_not_fit_is_named(blind, tmp_path):
    folder = find_agent("refshapes")
    about, engine = environment(folder, blind, action="edges")
    with pytest.raises(VGGymError, match="another environment"):
        load_policy(folder, about, engine)
    with pytest.raises(VGGymError, match="unknown algorithm 'sac'"):
        load_policy(folder, {**about, "algo": "sac"}, engine)
    with pytest.raises(VGGymError, match="no agent 'nobody'.*refshapes"):
        find_agent("nobody")
    (tmp_path / "agent.json").write_text(json.dumps(about)[:-5])
    with pytest.raises(VGGymError, match="damaged"):
        read_about(tmp_path)
