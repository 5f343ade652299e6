"""Compiled loops: the same numbers however the rows are shared out, wherever they are compiled."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.clip import kernels
from vg_gym.clip.dense import summed_area
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, score_boxes
from vg_gym.envs.actions import MIN_SIDE, shift_edges


@pytest.fixture
def threads():
    """Set torch's threads; as before when the test has ended."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def scene(rng, count=600):
    """Tables, slots, boxes and texts."""
    tables = summed_area(rng.normal(size=(5, 7, 7, 12)).astype(np.float32))
    low = rng.uniform(0, 0.7, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.04, 0.3, (count, 2))], axis=1).astype(np.float32)
    boxes[:2] = [[0, 0, 1, 1], [0.96, 0.96, 1, 1]]
    texts = rng.normal(size=(count, 12)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return tables, rng.integers(5, size=count, dtype=np.int32), boxes, texts


def scored(scene, ring=True):
    tables, slots, boxes, texts = scene
    regions, scores = np.empty_like(texts), np.empty(len(boxes), np.float32)
    weights = np.float32(RING_SCALE), np.float32(RING_WEIGHT if ring else 0)
    kernels.over_rows(kernels.score_boxes, len(boxes), tables, slots, boxes, texts, *weights, regions, scores)
    return regions, scores


def test_scores_are_those_that_are_named(rng):
    found = tables, slots, boxes, texts = scene(rng)
    for name, ring in (("cosine", False), ("context", True)):
        expected = score_boxes(name, tables[slots], texts, boxes)
        np.testing.assert_allclose(scored(found, ring)[1], expected, atol=2e-5)


def test_threads_change_no_bit(rng, threads):
    found = scene(rng)
    threads(1)
    alone = scored(found)
    assert len(found[2]) > kernels.MIN_THREADED_ROWS
    for count in (2, 3, 7):
        threads(count)
        for mine, theirs in zip(scored(found), alone, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_has_threads_of_its_own(rng, threads):
    threads(2)
    found = scene(rng)
    scored(found)  # the parent's threads are running
    child = os.fork()
    if child == 0:
        scored(found)
        os._exit(0)
    for _ in range(600):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0
            return
        time.sleep(0.1)
    os.kill(child, 9)
    pytest.fail("the fork waits for threads that it has not")


def test_edges_are_shifted_as_in_tensors(rng):
    boxes = scene(rng)[2]
    deltas = rng.uniform(-1.5, 1.5, boxes.shape).astype(np.float32)
    deltas[::3, 2:] = deltas[::3, :2]  # moves without a change of size
    deltas[1::5] = 0
    moved = shift_edges(boxes, deltas)
    tensors = shift_edges(torch.from_numpy(boxes), torch.from_numpy(deltas))
    np.testing.assert_allclose(moved, tensors.numpy(), atol=1e-6)
    assert box_ops.is_valid(moved, (1, 1), 0).all() and (moved[:, 2:] - moved[:, :2] > MIN_SIDE - 1e-6).all()
    spread = shift_edges(boxes[:, None], deltas[None, :9])
    assert spread.shape == (len(boxes), 9, 4)
    np.testing.assert_array_equal(spread[7, 3], shift_edges(boxes[7], deltas[3]))


def test_a_box_that_is_no_number_reads_nothing_beyond_the_table(rng):
    tables, slots, boxes, texts = scene(rng, 4)
    boxes[:] = np.nan, np.inf, -np.inf, 1e30
    scored((tables, slots, boxes, texts))
    sums = np.empty((4, 1, 12), np.float32)
    kernels.sum_boxes(0, 4, tables, slots, boxes[:, None].copy(), sums)


def test_they_are_compiled_where_nothing_can_be_kept(tmp_path):
    """As in a read-only container: no folder for what is compiled."""
    program = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import vg_gym.clip.kernels as kernels\n"
        "print(len(kernels.observe.signatures), kernels.observe._cache.__class__.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "NullCache"]


def test_ious_in_pixels_are_those_of_arrays_to_the_bit(rng):
    boxes = scene(rng)[2]
    boxes[5] = boxes[6] = [0.5, 0.5, 0.5, 0.5]  # both empty: no union
    targets, found = np.roll(boxes, 1, axis=0), np.empty(len(boxes))
    targets[2] = np.nan
    scales = box_ops.image_scale((97, 640)).repeat(len(boxes)).reshape(4, -1).T.copy()
    kernels.pixel_ious(0, len(boxes), boxes, targets, scales, found)
    np.testing.assert_array_equal(
        found, box_ops.pixel_iou(box_ops.pixels(boxes, scales), box_ops.pixels(targets, scales))
    )
    assert np.isnan(found[2]) and found[6] == 0
