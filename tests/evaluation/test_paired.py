import numpy as np
import pytest

from tests.evaluation.runs import write_run
from vg_gym.errors import VGGymError
from vg_gym.evaluation import metrics
from vg_gym.evaluation.paired import ALL, Pairing, chosen_methods, pair_results
from vg_gym.evaluation.results import read_results


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
            (difference.mean, difference.mean_ci, (a, b)),
            (difference.accuracy, difference.accuracy_ci, (metrics.hits(a), metrics.hits(b))),
        ):
            plain = metrics.paired_difference(second, first, images)
            assert value == pytest.approx(plain["mean"], abs=1e-6)
            assert plain["ci"] is not None and ci == pytest.approx(plain["ci"], abs=1e-6)
        assert difference.only_b - difference.only_a == pytest.approx(difference.accuracy * difference.n)


def test_turned_round_a_difference_is_the_opposite(answers):
    pairing = Pairing(answers, KINDS, IMAGES)
    for one, other in zip(pairing.differences("a", "c"), pairing.differences("c", "a"), strict=True):
        assert one.mean == -other.mean and (one.only_a, one.only_b) == (other.only_b, other.only_a)
        assert one.mean_ci == pytest.approx([-end for end in other.mean_ci[::-1]])


def test_the_same_answers_differ_by_nothing(answers):
    pairing = Pairing({"a": answers["a"], "b": answers["a"]}, KINDS, IMAGES)
    for difference in pairing.differences("a", "b"):
        assert difference.mean == difference.accuracy == difference.only_a == difference.only_b == 0
        low, high = difference.accuracy_ci
        assert low == -high and 0 < high < 0.2  # 15 images alike do not show that all are


def test_few_images_have_differences_and_no_interval(answers):
    pairing = Pairing({name: ious[:20] for name, ious in answers.items()}, KINDS[:20], IMAGES[:20])
    for difference in pairing.differences("a", "b"):
        assert difference.mean_ci is None and difference.accuracy_ci is None and difference.mean != 0


@pytest.fixture
def samples(shapes):
    return [shapes[i] for i in range(8)]


def results(folder, samples, **methods):
    return read_results(write_run(folder, samples, **methods))


def test_methods_of_one_name_are_paired(tmp_path, samples):
    first = results(tmp_path / "a", samples, x=[0.4] * 8, y=[0.6] * 8)
    second = results(tmp_path / "b", samples, y=[0.2] * 4 + [0.8] * 4, x=[0.9] * 8, z=[1.0] * 8)
    x, y = pair_results(first, second)
    assert (x.a, x.b, x.name) == ("x", "x", "x") and (y.a, y.b) == ("y", "y")
    assert x.figures == {"mean_a": 0.4, "mean_b": 0.9, "accuracy_a": 0.0, "accuracy_b": 1.0}
    assert x.differences[0].mean == pytest.approx(0.5) and x.differences[0].only_b == 8
    assert y.differences[0].mean == pytest.approx(-0.1) and y.differences[0].only_a == 4
    assert [d.kind for d in x.differences] == ["", "attribute", "location", "relation", "size"]


def test_which_methods_are_meant(tmp_path, samples):
    one, other = results(tmp_path / "a", samples, x=[0] * 8), results(tmp_path / "b", samples, y=[1] * 8)
    assert chosen_methods(one, other, None, None) == [("x", "y")]  # each has one, and floors do not count
    assert chosen_methods(one, other, "full", None) == [("full", "full")]
    assert chosen_methods(one, other, "full", "y") == [("full", "y")]
    with pytest.raises(VGGymError, match="has no method 'x', but full, y"):
        chosen_methods(one, other, "x", None)
    two = results(tmp_path / "c", samples, u=[1] * 8, v=[1] * 8)
    with pytest.raises(VGGymError, match="no method is in both: name one of each, --a of x and --b of u, v"):
        chosen_methods(one, two, None, None)
    with pytest.raises(VGGymError, match="against itself: name two methods of it"):
        chosen_methods(two, two, None, None)
    assert chosen_methods(two, two, "u", "v") == [("u", "v")]
