"""Pipelines: one encoding per image, batch as single, fallbacks, options; heat-map grounders likewise."""

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.ranking import ClipRanker
from vg_gym.baselines.two_stage import TwoStageGrounder
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import proposals
from vg_gym.types import Grounder

PIPELINES = ("yolo-clip", "detr-clip", "ssd-clip", "sam-clip", "segments-clip", "reclip", "seg-clip", "adapting-clip")


class Grid:
    """A proposer of four fixed boxes, the last two of them smaller if wanted; or of none."""

    name, fingerprint = "grid", "grid"

    def __init__(self, weights="", device="cpu", fail=False, uneven=False):
        self.weights, self.fail, self.uneven, self.seen = weights, fail, uneven, 0

    def propose(self, images):
        self.seen += len(images)
        boxes = np.array([[0, 0, 50, 50], [50, 0, 100, 50], [0, 50, 50, 100], [50, 50, 100, 100]], dtype=np.float32)
        boxes[2:, 2:] -= 25 * self.uneven
        keep = 0 if self.fail else 4
        return [proposals(boxes[:keep], np.ones(keep), ["x"] * keep, image) for image in images]


@pytest.fixture(autouse=True)
def grid(monkeypatch):
    """The proposer by its name."""
    monkeypatch.setitem(registry.PROPOSERS, "grid", registry.ProposerSpec(f"{__name__}:Grid"))


def pipeline(tiny, **options):
    return TwoStageGrounder("grid", clip=tiny, weights="w", **options)


def test_an_image_is_encoded_once(tiny, blind, monkeypatch):
    calls = []
    original = ClipEncoder.encode_crops
    monkeypatch.setattr(
        ClipEncoder, "encode_crops", lambda self, crops: calls.append(len(crops)) or original(self, crops)
    )
    grounder = pipeline(tiny)
    images = {query.image.key for query in blind}
    assert len(blind) > len(images) == 2
    predictions = grounder.ground(blind)
    assert calls == [8] and grounder.proposer.seen == 2  # one call for all crops of all images
    grounder.ground(blind)
    assert calls == [8] and grounder.proposer.seen == 2
    for prediction in predictions:
        assert prediction.details["scores"].sum() == pytest.approx(1)
        best = prediction.details["scores"].argmax()
        np.testing.assert_array_equal(prediction.box, prediction.details["proposals"][best])
        assert prediction.details["evaluations"] == 4


@pytest.mark.parametrize("options", [{}, {"views": "crop+blur+red-circle", "parse": True, "aggregate": "max"}])
def test_together_as_alone(tiny, blind, options):
    together = pipeline(tiny, **options).ground(blind)
    for query, prediction in zip(blind, together, strict=True):
        (alone,) = pipeline(tiny, **options).ground([query])
        np.testing.assert_array_equal(alone.box, prediction.box)
        np.testing.assert_allclose(alone.details["scores"], prediction.details["scores"], atol=1e-5)


def test_scores_are_clip_s_own(tiny, blind):
    (prediction,) = pipeline(tiny).ground(blind[:1])
    clip = ClipRanker(tiny).clips[0]
    image = blind[0].image.array()
    crops = [image[y : y + 50, x : x + 50] for y in (0, 50) for x in (0, 50)]
    logits = clip.logit_scale * clip.encode_crops(crops) @ clip.encode_text([blind[0].expression])[0]
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(prediction.details["scores"], expected / expected.sum(), rtol=1e-4)


def test_an_ensemble_sums_logits(tiny, blind):
    (one,), (two,) = pipeline(tiny).ground(blind[:1]), pipeline(f"{tiny}+{tiny}").ground(blind[:1])
    squared = one.details["scores"] ** 2
    np.testing.assert_allclose(two.details["scores"], squared / squared.sum(), rtol=1e-4)
    assert two.details["evaluations"] == 8


def test_no_proposals_answer_the_whole_image_and_are_counted(tiny, blind):
    for prediction, query in zip(pipeline(tiny, fail=True).ground(blind), blind, strict=True):
        np.testing.assert_array_equal(prediction.box, box_ops.denormalize(box_ops.FULL, query.image.size))
        assert "no proposals" in prediction.details["failure"]
    assert all("failure" in p.details for p in pipeline(tiny, categories=["zebra"]).ground(blind))


def test_small_boxes_are_no_candidates(tiny, blind):
    # Of 128 x 128 pixels the boxes cover 15 % and 4 %.
    for min_area, candidates in ((0.0, [0, 1, 2, 3]), (0.1, [0, 1]), (0.99, [0, 1, 2, 3])):  # at last none, so all
        (prediction,) = pipeline(tiny, uneven=True, min_area=min_area).ground(blind[:1])
        assert prediction.details["evaluations"] == len(candidates)
        assert np.flatnonzero(prediction.details["scores"]).tolist() == candidates


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": "crop+blurr"}, "did you mean 'blur'"),
        ({"aggregate": "mean"}, "unknown aggregate"),
        ({"prompt": "a photo"}, "no {} where"),
        ({"views": "fgvp"}, "sam-clip"),
    ],
)
def test_bad_options_are_named(tiny, blind, options, message):
    with pytest.raises(VGGymError, match=message):
        pipeline(tiny, **options).ground(blind)
    with pytest.raises(VGGymError, match="initial"):
        pipeline(tiny).ground(blind, np.zeros((len(blind), 4)))


def test_fingerprints_tell_settings_apart(tiny):
    marks = [pipeline(tiny, **o).fingerprint for o in ({}, {}, {"parse": True}, {"margin": 0.1}, {"fail": True})]
    assert marks[0] == marks[1] and len(set(marks)) == 4


@pytest.mark.parametrize("name", PIPELINES)
def test_every_pipeline_runs_on_what_is_shipped(name, blind):
    grounder = registry.grounder(name)
    assert isinstance(grounder, Grounder) and grounder.name == name
    queries = blind[:5]
    together = grounder.ground(queries)
    for query, prediction in zip(queries, together, strict=True):
        assert box_ops.is_valid(prediction.box, query.image.size, tolerance=0.5)
        assert "failure" not in prediction.details and prediction.details["evaluations"] > 0
    assert registry.grounder(name).fingerprint == grounder.fingerprint


def test_parsing_helps_where_place_decides(shapes):
    data = registry.open_dataset("refshapes", "val")
    samples = [s for s in (data[i] for i in range(120)) if s.kind == "location"]

    def accuracy(**options):
        boxes = [p.box for p in registry.grounder("yolo-clip", **options).ground([s.query for s in samples])]
        return np.mean([box_ops.iou(b, s.box) >= 0.5 for b, s in zip(boxes, samples, strict=True)])

    assert accuracy(parse=True) > accuracy() + 0.2
