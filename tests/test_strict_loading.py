"""Every loader takes all the weights of its model or says what is missing; none fills up with random numbers."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from vg_gym import registry
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.clip.loader import load_clip
from vg_gym.errors import VGGymError
from vg_gym.storage.assets import ASSETS


def play(folder, blind):
    return AgentGrounder(folder).ground(blind[:1])


LOADERS = {
    "agent-refshapes-clip": play,
    "clip-refshapes": lambda folder, _: load_clip(folder),
    **{
        f"{name}-refshapes": lambda folder, _, name=name: registry.proposer(name, weights=folder)
        for name in ("detr", "sam", "ssd", "yolo")
    },
    **{
        f"{name}-refshapes": lambda folder, _, name=name: registry.grounder(name, weights=folder)
        for name in ("transvg", "diffusion")
    },
}


@pytest.mark.parametrize("what", ["a tensor", "the file", "its contents"])
@pytest.mark.parametrize("name", LOADERS)
def test_what_is_missing_is_named(name, what, tmp_path, blind):
    folder = tmp_path / name
    shutil.copytree(ASSETS / name, folder)
    weights = min(folder.glob("*.safetensors"))  # that of the network comes before that of its presence head
    state = load_file(weights)
    lacking = sorted(state)[len(state) // 2]
    weights.unlink()
    if what == "a tensor":
        save_file({key: value for key, value in state.items() if key != lacking}, weights, {"format": "pt"})
    elif what == "its contents":
        weights.touch()
    with pytest.raises(VGGymError) as caught:
        LOADERS[name](str(folder), blind)
    assert (lacking if what == "a tensor" else str(folder)) in str(caught.value)


def test_an_architecture_without_weights_is_no_clip():
    with pytest.raises(VGGymError, match="could not be loaded"):
        load_clip("ViT-B-32:")
