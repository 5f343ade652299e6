import numpy as np
import pytest

from tests.evaluation.runs import write_run
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.paired_results import chosen_methods, draw_pairs, pair_results
from vg_gym.evaluation.report.scatter import BETTER, WORSE
from vg_gym.evaluation.saved import read_results


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
    assert x.figures == {"mean_iou_a": 0.4, "mean_iou_b": 0.9, "accuracy_a": 0.0, "accuracy_b": 1.0}
    assert x.differences[0].mean_iou == pytest.approx(0.5) and x.differences[0].only_b == 8
    assert y.differences[0].mean_iou == pytest.approx(-0.1) and y.differences[0].only_a == 4
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


def colors(image):
    return {color for _, color in image.getcolors(10**6)}


def test_the_drawing_is_green_where_the_second_is_better(tmp_path):
    samples = list(RefShapes("refshapes", "test", scenes=40))
    first = results(tmp_path / "a", samples, x=[0.4] * 160)
    better, worse = (results(tmp_path / f"{iou}", samples, x=[iou] * 160) for iou in (0.9, 0.1))
    up, down = (draw_pairs(pair_results(first, other), "a title") for other in (better, worse))
    assert BETTER[:3] in colors(up) - colors(down) and WORSE[:3] in colors(down) - colors(up)
    tall = draw_pairs(pair_results(first, better) * 3, "a title" * 100)
    assert tall.width == up.width and tall.height > 2 * up.height - 200
    assert np.asarray(tall)[-1].min() == 255  # nothing runs over the edge


def test_few_images_are_drawn_without_a_verdict(tmp_path, samples):
    first, better = (results(tmp_path / f"{iou}", samples, x=[iou] * 8) for iou in (0.1, 0.9))
    drawn = draw_pairs(pair_results(first, better), "a title")
    assert not {BETTER[:3], WORSE[:3]} & colors(drawn)
