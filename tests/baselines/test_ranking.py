"""Ranking: ReCLIP's own numbers, and by hand."""

import numpy as np
import pytest

from vg_gym.baselines.ranking import large_enough, rank_logits
from vg_gym.boxes import from_xywh, iou
from vg_gym.errors import VGGymError

CASES = "abc"


@pytest.mark.parametrize("case", CASES)
def test_published_ranking(reclip, case):
    settings, tensors = reclip[0][case], reclip[1]
    boxes = from_xywh(tensors[f"{case}.boxes_xywh"])
    height, width = tensors[f"{case}.image"].shape[:2]
    candidates = large_enough(boxes, (width, height), settings["area_threshold"])
    assert candidates.tolist() == settings["candidates"]
    logits = tensors[f"{case}.logits"].reshape(settings["n_models"], -1, len(candidates))
    ranking = rank_logits(logits, candidates, len(boxes), settings["aggregator"])
    np.testing.assert_allclose(ranking.logits, tensors[f"{case}.combined_logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(ranking.probabilities, tensors[f"{case}.probs_softmax"], rtol=0, atol=1e-5)
    assert ranking.best == settings["pred"]
    gold = from_xywh(np.array(settings["gold_boxes_xywh"], dtype=np.float64))
    np.testing.assert_allclose(iou(boxes[ranking.best], gold), settings["iou_of_pred_with_gold"], atol=1e-6)


def test_boxes_too_small_are_no_candidates_unless_all_are():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 5]], dtype=np.float32)
    assert large_enough(boxes, (20, 20), 0.2).tolist() == [0]
    assert large_enough(boxes, (20, 20), 0.25).tolist() == [0, 1]  # strict, so none is left, so all are


def test_ranking_by_hand():
    logits = np.array([[[1.0, 2.0], [5.0, 0.0]], [[1.0, 2.0], [0.0, 0.0]]])  # 2 models, 2 views, 2 candidates
    highest, total = (rank_logits(logits, np.array([3, 1]), 4, how) for how in ("max", "sum"))
    assert highest.logits.tolist() == [5, 4]
    assert total.logits.tolist() == [7, 4]
    assert highest.best == 3
    np.testing.assert_allclose(highest.probabilities, [0, 1 / (1 + np.e), 0, np.e / (1 + np.e)])
    alone = rank_logits(logits[..., :1], np.array([2]), 3)
    assert alone.probabilities.tolist() == [0, 0, 1]
    with pytest.raises(VGGymError, match="unknown aggregate"):
        rank_logits(logits, np.array([0, 1]), 2, "mean")
