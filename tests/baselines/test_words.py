"""Words alone: a detector's boxes chosen by class names, places and relations; and the class prior of pipelines."""

import importlib.util

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.baselines.detectors.base import coco_names
from vg_gym.baselines.two_stage import TwoStageGrounder
from vg_gym.baselines.words import WordsGrounder
from vg_gym.errors import VGGymError
from vg_gym.features.proposals import proposals
from vg_gym.language.class_names import COCO_CLASSES
from vg_gym.language.class_prior import MISMATCH, log_prior, words_alone

BOXES = np.array([[0, 0, 20, 40], [60, 0, 80, 40], [25, 20, 55, 40], [30, 10, 40, 22]], dtype=np.float32)
LABELS = ("person", "person", "dining table", "cup")


class Street:
    """A proposer of four fixed boxes with class names, without them, or of none."""

    name, fingerprint = "street", "street"

    def __init__(self, weights="", device="cpu", labels=LABELS, count=4):
        self.labels, self.count = labels, count

    def propose(self, images):
        return [
            proposals(BOXES[: self.count], np.ones(self.count), self.labels[: self.count], image) for image in images
        ]


@pytest.fixture(autouse=True)
def street(monkeypatch):
    monkeypatch.setitem(registry.PROPOSERS, "street", registry.ProposerSpec(f"{__name__}:Street"))


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("the man on the left", 0),
        ("the girl to the right of the table", 1),
        ("a mug on the table", 3),
        ("second person from the left", 1),
        ("the desk", 2),
        ("the smallest one", 3),
    ],
)
def test_words_choose(expression, answer):
    assert words_alone(expression, BOXES, LABELS).argmax() == answer


def test_the_grounder_answers_with_a_box_of_the_detector(blind):
    grounder = WordsGrounder("street", weights="w")
    (prediction,) = grounder.ground(blind[:1])
    best = int(words_alone(blind[0].expression, BOXES, LABELS).argmax())
    np.testing.assert_array_equal(prediction.box, BOXES[best])
    assert prediction.details["scores"].sum() == pytest.approx(1) and prediction.details["labels"] == LABELS
    assert prediction.score == prediction.details["scores"][best]


def test_without_proposals_or_class_names(blind):
    (nothing,) = WordsGrounder("street", weights="w", count=0).ground(blind[:1])
    assert nothing.details["failure"] == "street-words: no proposals"
    with pytest.raises(VGGymError, match="street-words needs a detector that names classes"):
        WordsGrounder("street", weights="w", labels=("",) * 4).ground(blind[:1])


def test_every_option_is_in_the_fingerprint():
    first = WordsGrounder("street", weights="w").fingerprint
    for changed in ({"weights": "v"}, {"min_confidence": 0.5}, {"max_boxes": 3}, {"max_overlap": 0.5}, {"count": 2}):
        assert WordsGrounder("street", **{"weights": "w", **changed}).fingerprint != first


def test_words_alone_ground_refshapes():
    if importlib.util.find_spec("ultralytics") is None:  # importing it here would change Pillow for all other tests
        pytest.skip("needs ultralytics")
    data = registry.open_dataset("refshapes", "test", scenes=20)
    samples = [data[i] for i in range(len(data)) if data[i].kind in ("location", "relation")]
    predictions = registry.grounder("yolo-words").ground([sample.query for sample in samples])
    right = [box_ops.iou(p.box, s.box) > 0.5 for p, s in zip(predictions, samples, strict=True)]
    assert np.mean(right) >= 0.4  # colours and fills stay unread; chance is about a sixth


def pipeline(tiny, **options):
    return TwoStageGrounder("street", clip=tiny, weights="w", **options)


def test_classes_lower_boxes_of_another_class(tiny, blind):
    query = blind[0]
    object.__setattr__(query, "expression", "the man")
    ((before,), (after,)) = (pipeline(tiny, classes=on).ground([query]) for on in (False, True))
    ratio = np.log(after.details["scores"] / before.details["scores"])
    np.testing.assert_allclose(ratio - ratio[0], [0, 0, -MISMATCH, -MISMATCH], atol=1e-4)


def test_classes_need_names_and_are_not_a_list(tiny, blind):
    with pytest.raises(VGGymError, match="a proposal has no class"):
        pipeline(tiny, classes=True, labels=("",) * 4).ground(blind[:1])
    with pytest.raises(VGGymError, match="categories="):
        pipeline(tiny, classes=["person"])


def test_a_prior_of_nothing_is_none():
    def zeros(phrase):
        return np.zeros(4)

    assert log_prior("the man", BOXES, zeros) is None
    assert log_prior("the man", BOXES, zeros, LABELS).tolist() == [0, 0, -MISMATCH, -MISMATCH]
    assert log_prior("the left man", BOXES, zeros, LABELS, places=False).tolist() == [0, 0, -MISMATCH, -MISMATCH]
    assert log_prior("the left man", BOXES, zeros).argmax() == 0


def test_the_names_of_classes_are_those_of_the_detectors():
    assert list(COCO_CLASSES) == list(coco_names())
