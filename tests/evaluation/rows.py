"""Rows and predictions as the evaluator keeps them, made of given IoUs."""

import numpy as np

from vg_gym.evaluation import metrics, probes


def row(method, role, ious, samples=(), **extra):
    """A row with all its columns."""
    ious = np.array(ious, dtype=float)
    by_kind = probes.by_kind(ious, [s.kind for s in samples]) if samples else {}
    empty = dict.fromkeys(("cosine", "grounding_accuracy", "evaluations", "centre_slope", "prior_gap", "planted_prior"))
    return {
        "method": method, "role": role, "dataset": "refshapes", "split": "test",
        **metrics.summary(ious, [s.image_id for s in samples] or range(len(ious)), gious=ious), **empty,
        "ms_per_query": 1.5, "failures": 0, "by_kind": by_kind,
        "by_cell": [None] * 8 + [0.5], "ious": ious.tolist(), **extra,
    }  # fmt: skip


def lines(boxes, trajectory=None):
    """Predictions of some boxes; a path for each where one is given."""
    path = {} if trajectory is None else {"trajectory": trajectory}
    return [{"key": str(i), "box": box, **path, **({} if box else {"failure": "none"})} for i, box in enumerate(boxes)]
