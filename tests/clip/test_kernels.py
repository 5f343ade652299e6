"""Compiled loops: the same numbers however the rows are shared out, wherever they are compiled."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from vg_gym.clip import region_features
from vg_gym.clip.region_features import NUMPY_BOXES, box_sum, summed_area, table_scores, table_sums
from vg_gym.clip.scores import RING_SCALE, RING_WEIGHT, score_boxes
from vg_gym.runtime.row_threads import MIN_THREADED_ROWS


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
    return table_scores(*scene, RING_SCALE, RING_WEIGHT if ring else 0)


def test_scores_are_those_that_are_named(rng):
    tables, slots, boxes, texts = rows = scene(rng)
    for name, ring in (("cosine", False), ("context", True)):
        expected = score_boxes(name, tables[slots], texts, boxes[:, None])[:, 0]
        np.testing.assert_allclose(scored(rows, ring)[1], expected, atol=2e-5)


def test_few_boxes_have_the_sums_of_many_without_compilation(rng):
    tables, slots, boxes, _ = scene(rng)
    boxes[2:4] = [[-0.2, 0.1, 0.5, 1.3], [0.5, 0.5, 0.5, 0.5]]
    few, many = [], []
    for sums, until in ((few, NUMPY_BOXES), (many, 0)):
        region_features._boxes_until_loop[0] = until
        sums += [box_sum(tables[slots[:6]], boxes[:6]), box_sum(tables[:1], boxes[None])]
    for mine, theirs in zip(few, many, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_threads_change_no_bit(rng, threads):
    found = scene(rng)
    threads(1)
    alone = scored(found)
    assert len(found[2]) > MIN_THREADED_ROWS
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


@pytest.mark.parametrize("corner", [np.nan, np.inf, -np.inf, 1e30])
def test_a_box_that_is_no_number_reads_nothing_beyond_the_table(corner, rng):
    tables, slots, boxes, texts = scene(rng, 4)
    before = tables.copy()
    boxes[:] = corner
    with np.errstate(invalid="ignore"):
        sums = box_sum(tables[:4], boxes)
    assert sums.shape == texts.shape and table_sums(tables, slots, boxes[:, None]).shape == (4, 1, 12)
    regions, scores = scored((tables, slots, boxes, texts))
    assert regions.shape == texts.shape and scores.shape == (4,)
    np.testing.assert_array_equal(tables, before)
    boxes[:] = 0.25, 0.25, 0.75, 0.75  # the tables still give the sums of boxes
    assert np.isfinite(box_sum(tables[:4], boxes)).all()


def test_they_are_compiled_where_nothing_can_be_kept(tmp_path):
    """As in a read-only container: no folder for what is compiled."""
    program = (
        "from numba.core import caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import vg_gym.envs.step_loops as loops\n"
        "print(len(loops.shift_edges.signatures), loops.shift_edges._cache.__class__.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "NullCache"]
