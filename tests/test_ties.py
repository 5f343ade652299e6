"""Pairs of whole-pixel boxes whose IoU is exactly 1/4, 1/2 or 3/4 reach that threshold on every path to a figure."""

import itertools
from functools import partial

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.agents.rollout import play
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.baselines.detectors.detector_learner import DetectorLearner
from vg_gym.data.images import ArrayImage
from vg_gym.envs import GroundingEnv, GroundingTensorEnv, GroundingVectorEnv
from vg_gym.evaluation import columns
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.evaluation.lines import predict_batch
from vg_gym.evaluation.probes import prior_gap
from vg_gym.evaluation.results import Queries
from vg_gym.language_models.text_rewards import improvement_reward, iou_reward
from vg_gym.learned.grounder_learner import judge
from vg_gym.types import Prediction, Proposals, Query, Sample

SIZE = (53, 29)
"""Of an image, by which few whole numbers divide without a remainder in binary."""
THRESHOLDS = (0.25, 0.5, 0.75)


def ties(threshold, count=60):
    """Pairs of whole-pixel boxes (count, 4) with exactly this IoU, from all in a corner of the image."""
    spans = {side: np.array([*itertools.combinations(range(side + 1), 2)]) for side in (10, 7)}
    x, y = np.repeat(spans[10], len(spans[7]), 0), np.tile(spans[7], (len(spans[10]), 1))
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)
    first, second = np.random.default_rng(0).integers(len(boxes), size=(2, 400_000))
    a, b = boxes[first] + [40, 20, 40, 20], boxes[second] + [40, 20, 40, 20]
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    shared, parts = sides.prod(1), (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    wide = ((a[:, 2:] - a[:, :2] >= 3) & (b[:, 2:] - b[:, :2] >= 3)).all(1)  # the environment's boxes are not smaller
    rows = np.flatnonzero((4 * shared == round(4 * threshold) * (parts - shared)) & wide)[:count]
    assert len(rows) == count
    return a[rows].astype(np.float32), b[rows].astype(np.float32)


@pytest.fixture(scope="module", params=THRESHOLDS)
def tied(request):
    """A threshold, predicted boxes, true boxes, and samples that have these."""
    boxes, targets = ties(request.param)
    image = ArrayImage(np.random.default_rng(0).integers(0, 255, (*SIZE[::-1], 3), np.uint8))
    samples = [
        Sample(Query(image, "the red circle", str(i)), box, "thing", i, i, i, 0, "test", kind="tie")
        for i, box in enumerate(targets)
    ]
    return request.param, boxes, targets, samples


def starts(boxes):
    return {"index": np.arange(len(boxes)), "initial_box": boxes / np.tile(SIZE, 2)}


class Answers:
    """A grounder that gives its boxes by key."""

    name = "answers"

    def __init__(self, boxes):
        self.boxes = boxes

    def ground(self, queries, initial_boxes=None):
        return [Prediction(self.boxes[int(query.key)]) for query in queries]


class Listed(list):
    """Samples as a data set."""

    name, split, categories = "ties", "test", ("thing",)


def test_float32_of_normalised_boxes_would_miss_many(tied):
    threshold, boxes, targets, _ = tied
    ious = box_ops.iou(box_ops.normalize(boxes, SIZE), box_ops.normalize(targets, SIZE))
    assert (ious < threshold).mean() > 0.1


@pytest.mark.parametrize("size", [SIZE, (97, 61), (640, 427), (4000, 49)])
def test_pixels_come_back_exactly_from_normalised_boxes(tied, size):
    threshold, boxes, targets, _ = tied
    there = [box_ops.pixels(box_ops.normalize(b, size), box_ops.image_scale(size)) for b in (boxes, targets)]
    np.testing.assert_array_equal(there[0], boxes)
    np.testing.assert_array_equal(box_ops.denormalize(box_ops.normalize(boxes + 0.125, size), size), boxes + 0.125)
    np.testing.assert_array_equal(box_ops.pixel_iou(*there), threshold)


def test_every_face_of_the_environment(tied):
    threshold, boxes, targets, samples = tied
    arguments = {"dataset": samples, "reward": "iou", "min_steps": 1, "step_cost": 0.0, "trigger_bonus": 1.0}
    envs = GroundingVectorEnv(len(boxes), **arguments)
    _, infos = envs.reset(seed=0, options=starts(boxes))
    np.testing.assert_array_equal(infos["iou"], threshold)
    np.testing.assert_array_equal(infos["is_success"], threshold >= 0.5)
    trigger = np.tile(envs.engine.actions.trigger, (len(boxes), 1))
    np.testing.assert_array_equal(envs.step(trigger)[1], np.float32(threshold))
    one = GroundingEnv(**arguments)
    for index, box in enumerate(boxes[:20]):
        _, info = one.reset(seed=0, options={"index": index, "initial_box": box / np.tile(SIZE, 2)})
        assert info["iou"] == threshold and info["is_success"] == (threshold >= 0.5)
    tensors = GroundingTensorEnv(len(boxes), **arguments)
    tensors.reset(seed=0)
    tensors.engine.reset_rows(range(len(boxes)), tensors._rng, starts(boxes))
    ious = tensors.step(trigger)[4]["iou"]
    assert ious.dtype.itemsize == 8 and (ious == threshold).all()


def test_what_sb3_and_the_callbacks_read(tied):
    threshold, boxes, _, samples = tied
    envs = GroundingVectorEnv(len(boxes), dataset=samples, reward="iou", min_steps=1)
    trigger = np.tile(envs.engine.actions.trigger, (len(boxes), 1))
    stable = GroundingVecEnv(envs.engine)
    stable.reset()
    envs.engine.reset_rows(range(len(boxes)), stable._rng, starts(boxes))
    infos = stable.step(trigger)[3]
    assert {(info["iou"], info["is_success"]) for info in infos} == {(threshold, threshold >= 0.5)}
    normalized = box_ops.normalize(boxes, SIZE)
    episodes = play(envs.engine, lambda seen: trigger, range(len(boxes)), normalized)
    assert {episode.iou for episode in episodes} == {threshold}


def test_the_evaluator_and_the_validation_of_networks(tied, tmp_path):
    threshold, boxes, _, samples = tied
    figures = judge(Answers(boxes), samples)
    assert figures["mean_iou"] == threshold and figures["acc@0.5"] == figures["acc@0.5/tie"] == float(threshold >= 0.5)
    evaluator = Evaluator(Listed(samples), tmp_path, {})
    evaluator.prior = box_ops.FULL
    lines = evaluator.predict("tie", lambda: partial(predict_batch, Answers(boxes).ground))
    evaluator.add("tie", "method", columns.Answers.of(lines))
    row = evaluator.rows[0]
    assert row[f"acc@{threshold}"] == 1.0 and row["mean_iou"] == threshold
    assert row["by_kind"]["tie"]["acc@0.5"] == float(threshold >= 0.5)
    evaluator.save({"command": "typed"})
    assert set(Queries(tmp_path / "queries.jsonl", evaluator.columns.content).values("tie")) == {threshold}


def test_rewards_of_language_models(tied):
    threshold, boxes, targets, _ = tied
    answers = [f"[{', '.join(str(int(v)) for v in box)}]" for box in boxes]
    columns = {"box": targets.tolist(), "size": [SIZE] * len(boxes), "frame": ["pixels"] * len(boxes)}
    assert set(iou_reward(answers, **columns)) == {threshold}
    assert set(improvement_reward(answers, initial_box=boxes.tolist(), **columns)) == {0.0}


def test_recall_of_detectors_and_the_gap_of_a_prior(tied):
    threshold, boxes, targets, _ = tied
    learner = object.__new__(DetectorLearner)
    proposals = [Proposals(box[None], np.ones(1, np.float32), ["thing"]) for box in boxes]
    learner.detector = type("D", (), {"with_module": lambda self, m: self, "propose": lambda self, images: proposals})()
    learner.names = ["thing"]
    truth = type(
        "T", (), {"pixels": [None] * len(boxes), "boxes": targets[:, None], "labels": np.zeros((len(boxes), 1), int)}
    )
    learner.val = truth()
    figures = learner.validate(None)
    assert figures["recall@0.5"] == float(threshold >= 0.5) and figures["recall@0.75"] == float(threshold >= 0.75)
    tenth = np.array([[0, 0, 10, 1.0], [20, 20, 30, 30]])
    assert prior_gap(np.array([1.0, 0.0]), tenth, np.array([0, 0, 1, 1.0])) == 1.0
