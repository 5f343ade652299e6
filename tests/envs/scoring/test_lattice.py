import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip.crop_scores import CropScores
from vg_gym.clip.scores import negative_texts
from vg_gym.envs import GroundingEnv, GroundingVectorEnv
from vg_gym.envs.scoring.lattice import LatticeScores, snap
from vg_gym.errors import VGGymError


@pytest.mark.parametrize("cells", [2, 5, 8])
def test_every_lattice_box_snaps_to_itself(cells):
    boxes = lattice_boxes(cells)
    assert len(boxes) == (cells * (cells + 1) // 2) ** 2 == len(np.unique(boxes, axis=0))
    np.testing.assert_array_equal(snap(boxes, cells), np.arange(len(boxes)))
    np.testing.assert_array_equal(snap(torch.from_numpy(boxes), cells), np.arange(len(boxes)))


def test_boxes_snap_to_the_nearest_lines(rng):
    low = rng.uniform(0, 0.9, (500, 2)).astype(np.float32)
    boxes = np.concatenate([low, np.minimum(low + rng.uniform(0.04, 0.5, (500, 2)), 1)], axis=1).astype(np.float32)
    snapped = lattice_boxes(8)[snap(boxes, 8)]
    wide = (boxes[:, 2:] - boxes[:, :2] > 1 / 8).all(axis=1)
    assert wide.any() and np.abs(snapped - boxes)[wide].max() <= 1 / 16 + 1e-6
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert ((snapped[:, :2] <= middle) & (middle <= snapped[:, 2:])).all()


@pytest.mark.parametrize("score", ["cosine", "context", "surround", "contrast"])
def test_scores_are_exactly_those_of_the_snapped_crops(score, shapes, tiny_clip):
    env = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, scoring="lattice", lattice=3, score=score)
    env.action_space.seed(0)
    env.reset(seed=0)
    crops = CropScores(tiny_clip, score, negative_texts(tiny_clip, score))
    for _ in range(4):
        actions = env.action_space.sample()
        actions[:, 4] = 0
        _, reward, _, _, infos = env.step(actions)
        snapped = lattice_boxes(3)[snap(infos["box"], 3)]
        queries = env.engine.queries
        pixels = np.stack([box_ops.denormalize(b, q.image.size) for b, q in zip(snapped, queries, strict=True)])
        text = tiny_clip.encode_text([q.expression for q in queries])
        np.testing.assert_allclose(infos["clip_score"], crops(queries, pixels, text)[1], atol=1e-5)


def test_prepared_scores_are_kept(shapes, tiny_clip, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    queries = [shapes[i].query for i in range(5)]
    wanted = [LatticeScores(tiny_clip, "context", None, 2)(query) for query in queries]
    LatticeScores(tiny_clip, "context", None, 2).prepare(queries)
    again = LatticeScores(tiny_clip, "context", None, 2)
    again.prepare(queries)
    monkeypatch.setattr(CropScores, "__call__", None)
    for query, scores in zip(queries, wanted, strict=True):
        np.testing.assert_allclose(again(query), scores, atol=1e-6)


def test_a_lattice_too_fine_is_named(shapes, tiny_clip):
    with pytest.raises(VGGymError, match="lattice=40"):
        GroundingEnv(dataset=shapes, clip=tiny_clip, scoring="lattice", lattice=40)
