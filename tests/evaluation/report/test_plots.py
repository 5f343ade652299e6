import numpy as np

from tests.evaluation.runs import write_run
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.evaluation.paired import pair_results
from vg_gym.evaluation.report.plots import BETTER, WORSE, draw_pairs
from vg_gym.evaluation.results import read_results


def results(folder, samples, **methods):
    return read_results(write_run(folder, samples, **methods))


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


def test_few_images_are_drawn_without_a_verdict(tmp_path, shapes):
    samples = [shapes[i] for i in range(8)]
    first, better = (results(tmp_path / f"{iou}", samples, x=[iou] * 8) for iou in (0.1, 0.9))
    drawn = draw_pairs(pair_results(first, better), "a title")
    assert not {BETTER[:3], WORSE[:3]} & colors(drawn)
