import json
from collections import Counter
from functools import partial

import numpy as np
import pytest

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.evaluation.columns import Answers
from vg_gym.evaluation.evaluator import Evaluator
from vg_gym.evaluation.lines import predict_batch
from vg_gym.evaluation.results import Queries
from vg_gym.types import Prediction


def answering(function):
    """A factory of a method that answers a box for each query or sample."""
    return lambda: partial(predict_batch, lambda asked, starts: [Prediction(function(x)) for x in asked])


def test_proposals_have_an_oracle(shapes, tmp_path):
    class WithProposals:
        def __call__(self, samples, boxes):
            found = [np.stack([[0, 0, 9, 9], s.box]) for s in samples]
            return [Prediction(f[0], details={"proposals": f}) for f in found]

    evaluator = Evaluator(shapes, tmp_path, {})
    lines = evaluator.predict("two", lambda: partial(predict_batch, WithProposals()), asked=evaluator.samples)
    evaluator.add("two", "method", Answers.of(lines))
    assert evaluator.rows[1]["mean_iou"] > 0.98 > 0.1 > evaluator.rows[0]["mean_iou"]
    np.testing.assert_allclose(
        [line["box"] for line in evaluator.lines["two proposal-oracle"]], [s.box for s in shapes], atol=0.01
    )


def test_the_truth_scores_one_and_a_failure_zero(shapes, tmp_path):
    evaluator = Evaluator(shapes, tmp_path, {}, limit=4)
    first = evaluator.samples[0].query.key
    lines = evaluator.predict("true", answering(lambda s: s.box), asked=evaluator.samples)
    np.testing.assert_allclose(evaluator.add("true", "ceiling", Answers.of(lines)), 1, atol=1e-3)
    nan = np.full(4, np.nan)
    lines = evaluator.predict(
        "half", answering(lambda s: nan if s.query.key == first else s.box), asked=evaluator.samples
    )
    ious, gious, boxes = evaluator.score(Answers.of(lines))
    assert ious[0] == 0 and gious[0] == -1 and boxes[0].tolist() == [0, 0, 1, 1]
    evaluator.add("half", "method", Answers.of(lines), note="kept")
    row = evaluator.rows[-1]
    assert row["failures"] == 1 and row["acc@0.5"] == 0.75 and row["note"] == "kept"
    kept = evaluator.lines["half"]
    assert kept[0]["box"] is None and list(evaluator.lines) == ["true", "half"]
    np.testing.assert_allclose(kept[1]["box"], evaluator.samples[1].box, atol=1e-3)
    assert row["prior_gap"] is None and row["planted_prior"] is None and row["cosine"] is None


def test_single_ious_are_in_a_file_beside_the_results(shapes, tmp_path):
    evaluator = Evaluator(shapes, tmp_path, {"dataset": "x"}, limit=2)
    lines = evaluator.predict("true", answering(lambda s: s.box), asked=evaluator.samples)
    evaluator.add("true", "ceiling", Answers.of(lines))
    evaluator.save({"command": "typed"})
    saved = json.loads((tmp_path / "results.json").read_text())
    assert (
        saved["meta"] == {"command": "typed", "content": evaluator.columns.content} and "ious" not in saved["rows"][0]
    )
    queries = Queries(tmp_path / "queries.jsonl", evaluator.columns.content)
    np.testing.assert_allclose(queries.values("true"), evaluator.rows[0]["ious"], atol=1e-7)
    assert queries.kinds == [s.kind for s in evaluator.samples]


def test_an_empty_split_is_refused(shapes, tmp_path):
    with pytest.raises(VGGymError, match="has no samples to evaluate"):
        Evaluator(shapes, tmp_path, {}, limit=0)


def test_the_order_in_which_a_method_is_asked_tells_no_kind_of_expression(tmp_path):
    data, orders = RefShapes("refshapes", "val", scenes=200), []
    for batch_size in (1, 7, 64):
        evaluator, asked = Evaluator(data, tmp_path / str(batch_size), {}, batch_size=batch_size), []
        evaluator.predict("any", answering(lambda query, asked=asked: asked.append(query.key) or [0, 0, 9, 9]))
        orders.append(asked)
    kinds = {sample.query.key: (number // 4, sample.kind) for number, sample in enumerate(data)}
    assert orders[0] == orders[1] == orders[2] and set(orders[0]) == kinds.keys()
    scenes, named = zip(*(kinds[key] for key in orders[0]), strict=True)
    assert list(scenes) == sorted(scenes)  # methods keep the last images
    counts = Counter((place % 4, kind) for place, kind in enumerate(named))
    assert len(counts) == 16 and all(25 <= count <= 75 for count in counts.values())  # 50 each, 6.1 to either side
