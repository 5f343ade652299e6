"""Scenes: boxes are tight and apart, shapes fill them."""

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.scenes import SHAPES


def test_boxes_are_tight_and_apart():
    dataset = RefShapes("refshapes", "val", image_size=160)
    for index in range(40):
        record = dataset.record(index)
        boxes = record.boxes()
        assert box_ops.is_valid(boxes, record.size).all()
        overlaps = box_ops.iou_matrix(boxes, boxes)
        assert (overlaps[~np.eye(len(boxes), dtype=bool)] == 0).all()


def test_a_drawn_shape_fills_its_box():
    from vg_gym.data.worlds.refshapes.scenes import Shape, draw_scene

    for shape in SHAPES:
        scene = (Shape(shape, "white", "large", "solid", (0.2, 0.3, 0.6, 0.8)),)
        bright = draw_scene(scene, np.random.default_rng(0), 200, 0.0).mean(axis=2) > 170
        ys, xs = np.nonzero(bright)
        np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [40, 60, 120, 160], atol=2)
