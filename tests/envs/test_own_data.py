"""Environments on a file of one's own data."""

import gymnasium
import pytest

import vg_gym  # noqa: F401
from tests.data.own import rows, write_images, write_rows
from vg_gym.errors import VGGymError


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images")
    return tmp_path


@pytest.mark.parametrize("name", ["RefShapes-Ground-v0", "RefCOCOg-Ground-v0"])
def test_a_file_is_played_by_every_environment(folder, tiny_clip, name):
    path = write_rows(folder / "mine.jsonl", rows(split="train"))
    env = gymnasium.make(name, dataset=str(path), clip=tiny_clip, reward="iou")
    _, info = env.reset(seed=0)
    assert info["dataset"] == "mine.jsonl" and info["key"].startswith("mine/") and info["iou"] == pytest.approx(0.5)
    env.step(env.action_space.sample())
    vector = gymnasium.make_vec(name, num_envs=3, dataset=str(path), clip=tiny_clip)
    assert set(vector.reset(seed=0)[1]["dataset"]) == {"mine.jsonl"}
    with pytest.raises(VGGymError, match="no split 'test'; it has train, and all"):
        gymnasium.make(name, dataset=str(path), split="test", clip=tiny_clip)


def test_without_boxes_only_rewards_that_read_none_are_served(folder, tiny_clip):
    bare = [{k: v for k, v in row.items() if k != "box"} for row in rows(split="train")]
    path = str(write_rows(folder / "mine.jsonl", bare))
    _, info = gymnasium.make("RefShapes-Ground-v0", dataset=path, clip=tiny_clip).reset(seed=0)
    assert "iou" not in info
    for options in ({"reward": "iou"}, {"initial_box": "jitter"}):
        with pytest.raises(VGGymError, match="needs box labels|starts near the target"):
            gymnasium.make("RefShapes-Ground-v0", dataset=path, clip=tiny_clip, **options)
