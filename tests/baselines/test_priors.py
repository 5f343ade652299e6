import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.baselines.clip_window import ClipWindow
from vg_gym.baselines.priors import best_constant_box, center, constant, full, random
from vg_gym.clip.finetuning.model import save_model
from vg_gym.errors import VGGymError
from vg_gym.registry import grounder


def test_the_best_constant_box_is_the_best(rng):
    targets = np.tile(np.array([[0.22, 0.31, 0.64, 0.87]], np.float32), (30, 1))
    np.testing.assert_allclose(best_constant_box(targets), targets[0], atol=0.01)
    low = rng.uniform(0, 0.5, (200, 2))
    targets = np.concatenate([low, low + rng.uniform(0.1, 0.5, (200, 2))], 1).astype(np.float32)
    best = box_ops.iou(best_constant_box(targets), targets).mean()
    tried = [box_ops.iou(box, targets).mean() for box in targets]
    assert best >= max(tried) - 1e-6


def test_priors_answer_pixels_inside_the_image(blind):
    for prior in (full(), center(0.5), random(3), grounder("no-op")):
        for prediction in prior.ground(blind):
            assert box_ops.is_valid(prediction.box, (128, 128))
    np.testing.assert_array_equal(center(0.5).ground(blind)[0].box, [32, 32, 96, 96])


def test_random_is_a_function_of_the_query_not_of_the_call(blind):
    together = [p.box for p in random(1).ground(blind)]
    alone = [random(1).ground([q])[0].box for q in reversed(blind)][::-1]
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(together, [p.box for p in random(2).ground(blind)])


def test_refusals(blind):
    with pytest.raises(VGGymError, match="does not refine"):
        full().ground(blind, np.zeros((len(blind), 4)))
    with pytest.raises(VGGymError, match="not fitted|fit it"):
        constant().ground(blind)
    with pytest.raises(VGGymError, match="constant.box"):
        constant([0.5, 0, 0.1, 1])
    with pytest.raises(VGGymError, match="center.fraction"):
        center(2.0)


@pytest.mark.parametrize("score", ["cosine", "context"])
def test_clip_window_finds_the_maximum(score, tiny_clip, blind, tmp_path):
    from vg_gym.clip.region_features import summed_area
    from vg_gym.clip.scores import score_boxes

    save_model(tiny_clip, tmp_path / "clip")
    method = ClipWindow(clip=str(tmp_path / "clip"), score=score, chunk=7)
    for query, prediction in zip(blind, method.ground(blind), strict=True):
        table = summed_area(method.clip.encode_dense([query.image.array()]))
        text = method.clip.encode_text([query.expression])
        scores = [score_boxes(score, table, text, box[None, None])[0, 0] for box in method.boxes]
        best = box_ops.normalize(prediction.box, query.image.size)
        assert score_boxes(score, table, text, best[None, None])[0, 0] == pytest.approx(max(scores), abs=1e-5)
        assert prediction.details["evaluations"] == len(method.boxes) == 100
