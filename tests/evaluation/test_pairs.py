import numpy as np
import pytest

from vg_gym.evaluation import metrics
from vg_gym.evaluation.pairs import ALL, Pairing


@pytest.fixture
def answers(rng):
    return {name: rng.random(60).astype(np.float32) for name in ("a", "b", "c")}


KINDS = ["size", "location", ""] * 20
IMAGES = [i // 4 for i in range(60)]


def test_differences_are_those_of_one_pair_alone(answers):
    pairing = Pairing(answers, KINDS, IMAGES)
    found = pairing.differences("a", "b")
    assert [d.kind for d in found] == [ALL, "location", "size"] and [d.n for d in found] == [60, 20, 20]
    for difference in found:
        part = pairing.parts[difference.kind]
        a, b, images = answers["a"][part], answers["b"][part], np.array(IMAGES)[part]
        for value, ci, (first, second) in (
            (difference.mean_iou, difference.mean_iou_ci, (a, b)),
            (difference.accuracy, difference.accuracy_ci, (metrics.hits(a), metrics.hits(b))),
        ):
            plain = metrics.paired_difference(second, first, images)
            assert value == pytest.approx(plain["mean"], abs=1e-6)
            assert plain["ci"] is not None and ci == pytest.approx(plain["ci"], abs=1e-6)
        assert difference.only_b - difference.only_a == pytest.approx(difference.accuracy * difference.n)


def test_turned_round_a_difference_is_the_opposite(answers):
    pairing = Pairing(answers, KINDS, IMAGES)
    for one, other in zip(pairing.differences("a", "c"), pairing.differences("c", "a"), strict=True):
        assert one.mean_iou == -other.mean_iou and (one.only_a, one.only_b) == (other.only_b, other.only_a)
        assert one.mean_iou_ci == pytest.approx([-end for end in other.mean_iou_ci[::-1]])


def test_the_same_answers_differ_by_nothing(answers):
    pairing = Pairing({"a": answers["a"], "b": answers["a"]}, KINDS, IMAGES)
    for difference in pairing.differences("a", "b"):
        assert difference.mean_iou == difference.accuracy == difference.only_a == difference.only_b == 0
        low, high = difference.accuracy_ci
        assert low == -high and 0 < high < 0.2  # 15 images alike do not show that all are


def test_few_images_have_differences_and_no_interval(answers):
    pairing = Pairing({name: ious[:20] for name, ious in answers.items()}, KINDS[:20], IMAGES[:20])
    for difference in pairing.differences("a", "b"):
        assert difference.mean_iou_ci is None and difference.accuracy_ci is None and difference.mean_iou != 0
