"""First boxes: mixtures, grounders' boxes, and their cache."""

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.priors import NoOp
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.initial_boxes import grounder_boxes
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.rng import CounterRNG
from vg_gym.errors import VGGymError
from vg_gym.types import Prediction


class Counting:
    """Answers a box that depends on the expression, and counts the queries it was asked."""

    name, asked = "counting", 0

    def __init__(self, mark="a"):
        self.fingerprint = mark

    def ground(self, queries, initial_boxes=None):
        Counting.asked += len(queries)
        return [Prediction(np.array([0, 0, 10 + len(q.expression), 64.0])) for q in queries]


@pytest.fixture
def counting(monkeypatch, tmp_path):
    monkeypatch.setitem(registry.GROUNDERS, "counting", registry.GrounderSpec(f"{__name__}:Counting"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    Counting.asked = 0


def first_boxes(shapes, tiny_clip, name, count=64):
    engine = GroundingEngine(Episodes(shapes), tiny_clip, count, EnvOptions(initial_box=name))
    engine.reset_rows(np.arange(count), CounterRNG(np.arange(count)))
    return engine


def test_a_grounder_s_boxes_start_their_own_queries(counting, shapes, tiny_clip):
    engine = first_boxes(shapes, tiny_clip, "counting")
    assert Counting.asked == len({(q.image.key, q.expression) for q in engine.queries}) <= len(shapes)
    for query, box in zip(engine.queries, engine.boxes, strict=True):
        expected = box_ops.normalize(np.array([0, 0, 10 + len(query.expression), 64.0]), query.image.size)
        np.testing.assert_allclose(box, expected, atol=1e-6)


def test_the_no_op_grounder_is_the_full_image(shapes, tiny_clip, monkeypatch):
    asked = []
    original = NoOp.ground
    monkeypatch.setattr(NoOp, "ground", lambda self, queries, *given: asked.extend(queries) or original(self, queries))
    elsewhere = first_boxes(shapes, tiny_clip, "center")
    assert not (elsewhere.boxes == box_ops.FULL).all(axis=1).any()
    engine = first_boxes(shapes, tiny_clip, "no-op")
    assert {q.key for q in asked} == {q.key for q in engine.queries}  # by the grounder, not as initial_box="full"
    np.testing.assert_allclose(engine.boxes, np.tile(box_ops.FULL, (64, 1)), atol=1e-6)


def test_random_boxes_differ_and_jitter_is_near_its_target(shapes, tiny_clip):
    random, jitter = (first_boxes(shapes, tiny_clip, name) for name in ("random", "jitter"))
    assert len(np.unique(random.boxes, axis=0)) == 64 and box_ops.is_valid(random.boxes, (1, 1)).all()
    assert box_ops.iou(jitter.boxes, jitter.targets).mean() > 2 * box_ops.iou(random.boxes, random.targets).mean() > 0


def test_a_mixture_draws_all_of_its_parts(counting, shapes, tiny_clip):
    boxes = first_boxes(shapes, tiny_clip, "full, center,counting").boxes
    full = (boxes == box_ops.FULL).all(axis=1)
    center = (boxes == [0.25, 0.25, 0.75, 0.75]).all(axis=1)
    corner = (boxes[:, :2] == 0).all(axis=1) & ~full
    assert (full | center | corner).all()
    assert min(full.sum(), center.sum(), corner.sum()) >= 10
    again = first_boxes(shapes, tiny_clip, "full,center,counting").boxes
    np.testing.assert_array_equal(boxes, again)
    with pytest.raises(VGGymError, match="did you mean 'center'"):
        first_boxes(shapes, tiny_clip, "full,centre")


class Reading(Counting):
    """Remembers the CLIP it was built with."""

    name, clips = "reading", []  # type: tuple[str, list[str]]

    def __init__(self, clip="refshapes"):
        super().__init__()
        Reading.clips.append(clip)


def test_a_grounder_reads_with_the_environment_s_clip(shapes, tiny_clip, monkeypatch):
    monkeypatch.setitem(registry.GROUNDERS, "reading", registry.GrounderSpec(f"{__name__}:Reading", takes_clip=True))
    Reading.clips.clear()
    first_boxes(shapes, tiny_clip, "reading,full")
    assert Reading.clips == [tiny_clip.name]


def test_boxes_are_cached_by_what_made_them(counting, blind, tmp_path):
    wanted = grounder_boxes(Counting(), blind, chunk=3)
    assert Counting.asked == len(blind) and not (tmp_path / "vg_gym").exists()
    first = grounder_boxes(Counting(), blind, cache=True, chunk=3)
    again = grounder_boxes(Counting(), blind, cache=True, chunk=3)
    assert Counting.asked == 2 * len(blind)
    np.testing.assert_array_equal(first, wanted)
    np.testing.assert_array_equal(again, wanted)
    assert wanted.shape == (len(blind), 4) and wanted.dtype == np.float32
    grounder_boxes(Counting("b"), blind, cache=True, chunk=3)
    assert Counting.asked == 3 * len(blind)
    grounder_boxes(Counting(), blind[::-1], cache=True, chunk=3)
    assert Counting.asked == 4 * len(blind)


def test_an_interrupted_computation_keeps_its_chunks(counting, blind):
    class Interrupted(Counting):
        def ground(self, queries, initial_boxes=None):
            if Counting.asked >= 4:
                raise KeyboardInterrupt
            return super().ground(queries)

    with pytest.raises(KeyboardInterrupt):
        grounder_boxes(Interrupted(), blind, cache=True, chunk=2)
    assert Counting.asked == 4
    grounder_boxes(Counting(), blind, cache=True, chunk=2)
    assert Counting.asked == len(blind)


def test_prepared_boxes_ask_nothing_more(counting, shapes, tiny_clip):
    engine = GroundingEngine(Episodes(shapes), tiny_clip, 8, EnvOptions(initial_box="counting,full"))
    engine.initial_boxes.prepare(Episodes(shapes).queries())
    asked = Counting.asked
    engine.reset_rows(np.arange(8), CounterRNG(np.arange(8)))
    assert Counting.asked == asked == len(shapes)


def test_damaged_boxes_are_asked_for_anew(counting, blind, tmp_path):
    first = grounder_boxes(Counting(), blind, cache=True)
    (kept,) = (tmp_path / "vg_gym").rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-5])
    with pytest.warns(UserWarning, match="cannot be read .* computed again"):
        np.testing.assert_array_equal(grounder_boxes(Counting(), blind, cache=True), first)
    assert Counting.asked == 2 * len(blind)
    np.testing.assert_array_equal(grounder_boxes(Counting(), blind, cache=True), first)
    assert Counting.asked == 2 * len(blind)
