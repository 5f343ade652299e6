"""Batches of box-text pairs from any data set."""

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.finetuning.box_text_batches import DatasetBatches, perturb
from vg_gym.data.worlds.refshapes.dataset import RefShapes


def test_near_misses_are_boxes_of_all_overlaps(rng):
    boxes = np.tile(np.array([[0.3, 0.3, 0.6, 0.7]], np.float32), (300, 1))
    near = perturb(boxes, rng, 2)
    assert box_ops.is_valid(near, (1, 1)).all()
    overlaps = box_ops.iou(near, boxes[0])
    assert (overlaps < 0.4).mean() > 0.15 and (overlaps > 0.7).mean() > 0.1


def test_any_data_set_gives_batches():
    dataset = RefShapes("refshapes", "train", scenes=6)
    batch = DatasetBatches(dataset, 4, 64, 32, texts=3).batch(0)
    assert len(batch.texts) == 12 and batch.crops.shape[1:] == (32, 32, 3)
    assert (batch.match.max(axis=(1, 2)) == 1).all()
