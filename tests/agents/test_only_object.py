"""The only object of a picture is the easiest one to find, and no training scene has fewer than three."""

import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.scenes import draw_scene
from vg_gym.registry.photographs import world_of_weights
from vg_gym.storage.assets import ASSETS
from vg_gym.types import Query

LEAST_ACCURACY = {"refshapes-label-free": 0.97, "refshapes-any": 0.95}
"""Acc@0.5 of agents that miss some; of all others, 0.99."""
KINDS = {"refshapes-any": {"attribute"}}
"""Kinds of expression that mean the only object; "left of the heart" means nothing where the heart is missing."""


NAMES = sorted(folder.name.removeprefix("agent-") for folder in ASSETS.glob("agent-*"))


@pytest.mark.parametrize("name", [name for name in NAMES if world_of_weights(name) != "refscenes"])
def test_an_agent_finds_the_only_object(name):
    data = RefShapes("refshapes", "test", scenes=25)
    samples, queries = data[:], []
    for row, sample in enumerate(samples):
        record = data.record(row // 4)
        target = record.scene()[sample.ann_id - sample.image_id * 10]
        pixels = draw_scene((target,), record.rng("pixels"), 128, texture=1.0)
        queries.append(Query(ArrayImage(pixels, f"alone {row}"), sample.query.expression, f"{row}"))
    predictions = registry.grounder(f"agent:{name}").ground(queries)
    boxes = [np.zeros(4) if p.box is None else p.box for p in predictions]
    ious = [float(box_ops.iou(box, s.box)) for box, s in zip(boxes, samples, strict=True)]
    counted = [iou for iou, s in zip(ious, samples, strict=True) if s.kind in KINDS.get(name, {s.kind})]
    assert np.mean(np.array(counted) >= 0.5) >= LEAST_ACCURACY.get(name, 0.99)
