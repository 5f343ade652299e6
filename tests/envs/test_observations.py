import numpy as np
import pytest
import torch
from gymnasium import spaces

from vg_gym import boxes as box_ops
from vg_gym.clip.region_features import box_mean, l2_normalize, summed_area
from vg_gym.envs import GroundingVectorEnv
from vg_gym.envs.observations import pixel_views
from vg_gym.errors import VGGymError
from vg_gym.features import bank
from vg_gym.features.glimpses import (
    FEATURE_GLIMPSE,
    GLIMPSE,
    MAX_MAP_SCORE,
    State,
    feature_glimpses,
    glimpses,
    seen_arrays,
    seen_tensors,
    whole_lines,
    window_lines,
)


def some_boxes(rng, count=12):
    low = rng.uniform(0, 0.7, (count, 2))
    return np.concatenate([low, low + rng.uniform(0.05, 0.3, (count, 2))], axis=1).astype(np.float32)


def tables(maps):
    """Summed-area tables (B, M, g+1, g+1) of maps (B, g, g, M)."""
    return np.ascontiguousarray(np.moveaxis(summed_area(maps), -1, 1))


def seen_in(maps, boxes):
    """Glimpses (B, 4, M + 1, G, G) of all windows."""
    lines = np.concatenate([window_lines(boxes), whole_lines(boxes)], axis=2)
    seen = torch.empty(len(boxes), 4, maps.shape[-1] + 1, GLIMPSE, GLIMPSE)
    glimpses(torch.from_numpy(tables(maps)), torch.from_numpy(lines), seen)
    return seen.numpy()


def sampled(maps, window, cells, points=60):
    """Averages (cells, cells) of a map (g, g) in a window and shares inside the image, by counting fine points."""
    grid, count = len(maps), cells * points
    xs, ys = (window[k] + (np.arange(count) + 0.5) / count * (window[k + 2] - window[k]) for k in (0, 1))
    inside = ((ys >= 0) & (ys < 1))[:, None] & ((xs >= 0) & (xs < 1))[None]
    columns, rows = (np.clip((v * grid).astype(int), 0, grid - 1) for v in (xs, ys))
    values = maps[rows][:, columns] * inside
    blocks = (cells, points, cells, points)
    return values.reshape(blocks).mean((1, 3)), inside.reshape(blocks).mean((1, 3))


def test_glimpses_are_averages_in_windows_about_the_box(rng):
    maps, boxes = rng.normal(size=(4, 8, 8, 1)).astype(np.float32), some_boxes(rng, 4)
    seen = seen_in(maps, boxes)
    for i in range(4):
        windows = [*(box_ops.scale(boxes[i], k) for k in (1, 2, 4)), box_ops.FULL]
        for k, window in enumerate(windows):
            values, coverage = sampled(maps[i, ..., 0], window, GLIMPSE)
            np.testing.assert_allclose(seen[i, k, 0], values, atol=0.12)
            np.testing.assert_allclose(seen[i, k, 1], coverage, atol=0.03)


def test_glimpses_move_with_the_box(rng):
    """An object to the upper right of the box looks the same wherever the two are."""
    maps = np.zeros((2, 16, 16, 1), np.float32)
    maps[0, 4:6, 8:10] = maps[1, 8:10, 10:12] = 1
    boxes = np.array([[0.25, 0.375, 0.5, 0.625], [0.375, 0.625, 0.625, 0.875]], np.float32)
    seen = seen_in(maps, boxes)
    np.testing.assert_allclose(seen[0, 1:3, 0], seen[1, 1:3, 0], atol=1e-5)
    assert seen[0, 2, 0].max() > 0.5 and not np.allclose(seen[0, 3, 0], seen[1, 3, 0])
    upper_right = seen[0, 2, 0, :4, 4:].sum()
    assert upper_right == pytest.approx(seen[0, 2, 0].sum(), rel=1e-4)


def test_lines_are_the_same_for_arrays_and_tensors(rng):
    boxes = some_boxes(rng)
    lines = window_lines(boxes)
    assert lines.shape == (12, 2, 3, GLIMPSE + 1)
    np.testing.assert_array_equal(window_lines(torch.from_numpy(boxes)).numpy(), lines)
    np.testing.assert_allclose(lines[:, 0, 0, [0, -1]], boxes[:, [0, 2]], atol=1e-6)
    np.testing.assert_array_equal(whole_lines(torch.from_numpy(boxes)).numpy(), whole_lines(boxes))


def test_feature_glimpses_are_unit_features_of_the_cells(rng):
    maps, boxes = rng.normal(size=(3, 8, 8, 5)).astype(np.float32), some_boxes(rng, 3)
    seen = feature_glimpses(summed_area(maps), np.arange(3, dtype=np.int32), boxes)
    seen = seen.reshape(3, 4, FEATURE_GLIMPSE, FEATURE_GLIMPSE, 5)
    lengths = np.linalg.norm(seen, axis=-1)
    np.testing.assert_allclose(lengths[:, [0, 3]], 1, atol=1e-4)
    quarter = maps[0, 2:4, 4:6].mean((0, 1))
    np.testing.assert_allclose(seen[0, 3, 1, 2], quarter / np.linalg.norm(quarter), atol=1e-4)


@pytest.mark.parametrize("half", [False, True])
def test_arrays_and_tensors_see_the_same(half, rng):
    boxes, maps = some_boxes(rng), tables(rng.normal(size=(12, 8, 8, 2)).astype(np.float32))
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    state = State(boxes, maps, draw(12, 3, GLIMPSE, GLIMPSE), draw(12, 3, 5), draw(12, 16), draw(12, 16), draw(12),
                  draw(12), np.arange(12), draw(12, 16))  # fmt: skip
    rows = np.array([3, 0, 11])
    arrays = seen_arrays(state, 8, rows, half)
    tensors = seen_tensors(State(*(torch.from_numpy(part[rows]) for part in state)), 8)
    for array, tensor in zip(arrays, tensors, strict=True):
        assert array.dtype == (np.float16 if half else np.float32) and array.flags.c_contiguous
        np.testing.assert_allclose(array, tensor.numpy(), atol=5e-3 if half else 2e-4)


def test_box_coordinates_by_hand(shapes, tiny_clip):
    env = GroundingVectorEnv(1, dataset=shapes, clip=tiny_clip)
    seen, _ = env.reset(options={"initial_box": [0.25, 0.5, 0.75, 1.0]})
    np.testing.assert_allclose(seen["box"], [[0.25, 0.5, 0.75, 1, 0.5, 0.75, 0.5, 0.5]])


def test_pixel_views_are_the_image_and_the_crop():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 50:150] = 200
    whole, inside = pixel_views(image, np.array([60, 25, 140, 55], np.float32))
    assert whole.shape == inside.shape == (84, 84, 3) and (inside == 200).all()
    assert whole.mean() == pytest.approx(image.mean(), rel=0.03)


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_extreme_score_maps_stay_in_the_space(scale, rng, shapes, tiny_clip, monkeypatch):
    extreme = (scale * rng.standard_cauchy(size=(4, 4, 2))).astype(np.float16)
    monkeypatch.setattr(bank, "score_maps", lambda *_: [extreme])
    env = GroundingVectorEnv(6, dataset=shapes, clip=tiny_clip, initial_box="random", max_steps=3)
    seen, _ = env.reset(seed=0)
    space = env.single_observation_space["glimpses"]
    for _ in range(6):
        assert ((seen["glimpses"] >= space.low) & (seen["glimpses"] <= space.high)).all()
        seen, *_ = env.step(env.action_space.sample())
    assert scale < 1 or np.abs(seen["glimpses"]).max() > 0.9 * MAX_MAP_SCORE


@pytest.mark.parametrize(
    "options",
    [
        {"action": "continuous", "tokens": True, "initial_box": "random"},
        {"action": "edges", "glimpse_features": True, "phrases": True, "score": "contrast"},
        {"action": "classic", "observation": "pixels", "initial_box": "jitter"},
    ],
    ids=str,
)
def test_long_walks_stay_in_the_space(options, shapes, tiny_clip):
    env = GroundingVectorEnv(6, dataset=shapes, clip=tiny_clip, max_steps=30, **options)
    seen, _ = env.reset(seed=0)
    env.action_space.seed(0)
    for step in range(60):
        for name, space in env.single_observation_space.items():
            assert seen[name].dtype == space.dtype, name
            assert ((seen[name] >= space.low) & (seen[name] <= space.high)).all(), f"{name} at step {step}"
            assert seen[name].shape == (6, *space.shape), name
        seen, *_ = env.step(env.action_space.sample())


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ({}, []),
        ({"tokens": True}, ["tokens"]),
        ({"glimpse_features": True}, ["tokens", "glimpse_features"]),
        ({"proposals": "ssd:refshapes", "proposal_features": True}, ["words", "proposals", "proposal_features"]),
        ({"observation": "pixels"}, ["pixels_image", "pixels_crop"]),
    ],
    ids=str,
)
def test_options_add_their_parts_and_nothing_else(options, added, shapes, tiny_clip):
    space = GroundingVectorEnv(1, dataset=shapes, clip=tiny_clip, **options).single_observation_space
    plain = {"box", "glimpses", "history", "image", "region", "score", "step", "text"}
    assert set(space) == plain | set(added)
    assert all(isinstance(part, spaces.Box) and len(part.shape) in (1, 3) for part in space.values())


def test_history_and_step_follow_the_episode(shapes, tiny_clip):
    env = GroundingVectorEnv(1, dataset=shapes, clip=tiny_clip, action="classic", max_steps=5)
    seen, _ = env.reset(seed=0)
    assert not seen["history"].any() and seen["step"] == 0
    for k, action in enumerate((5, 1, 4, 0)):
        seen, *_ = env.step(np.array([action]))
        assert seen["step"][0] == pytest.approx((k + 1) / 5)
    np.testing.assert_array_equal(seen["history"].reshape(3, 9).argmax(1), [1, 4, 0])
    assert seen["history"].sum() == 3


def test_the_score_and_its_change_are_told(shapes, tiny_clip):
    env = GroundingVectorEnv(2, dataset=shapes, clip=tiny_clip)
    first, infos = env.reset(seed=0)
    np.testing.assert_allclose(first["score"][:, 0], infos["clip_score"], atol=1e-6)
    assert (first["score"][:, 1] == 0).all()
    second, *_ = env.step(np.tile([4, 4, 4, 4, 0], (2, 1)))
    np.testing.assert_allclose(second["score"][:, 1], second["score"][:, 0] - first["score"][:, 0], atol=1e-6)
    assert (second["score"][:, 1] != 0).all()


def test_features_of_proposals_are_those_of_their_boxes(shapes):
    env = GroundingVectorEnv(1, dataset=shapes, proposals="contours", proposal_features=True, num_proposals=5)
    seen, _ = env.reset(seed=0)
    engine = env.engine
    boxes, there = engine.proposals[0, :, :4], engine.proposals[0, :, 4] > 0
    dense = engine.features.dense(engine.query(0).image).astype(np.float32)
    found = seen["proposal_features"].reshape(5, -1)
    wanted = l2_normalize(box_mean(summed_area(dense[None]), boxes[None, there])[0])
    np.testing.assert_allclose(found[there], wanted, atol=1e-5)
    assert there.any() and not found[~there].any()
    plain = GroundingVectorEnv(1, dataset=shapes, proposals="ssd", num_proposals=5, score="relational")
    rich = GroundingVectorEnv(
        1, dataset=shapes, proposals="ssd", num_proposals=5, score="relational", proposal_features=True
    )
    a, b = (each.reset(seed=0)[0] for each in (plain, rich))
    assert a["score"].any()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    with pytest.raises(VGGymError, match="proposal_features=true needs proposals"):
        GroundingVectorEnv(1, dataset=shapes, proposal_features=True)
