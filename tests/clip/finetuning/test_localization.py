"""The report on how well a CLIP localizes."""

from dataclasses import replace

import numpy as np

from vg_gym.clip.finetuning.localization import localization_report
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.types import Objects


def test_the_report_of_a_perfect_localizer_is_perfect():
    class Perfect:
        grid, dim = 16, 4

        def encode_text(self, texts):
            return np.tile(np.array([[1, 0, 0, 0]], np.float32), (len(texts), 1))

        def encode_dense(self, images):
            maps = np.zeros((1, 16, 16, 4), np.float32)
            maps[..., 1] = 1
            maps[0, 4:8, 8:12] = [1, 0, 0, 0]
            # Halves cancel: only the whole object looks exactly like the text.
            maps[0, 4:8, 8:10, 2], maps[0, 4:8, 10:12, 2] = 1, -1
            maps[0, 4:6, 8:12, 3], maps[0, 6:8, 8:12, 3] = 1, -1
            return maps

    sample = replace(RefShapes("refshapes", "val")[0], box=np.array([64, 32, 96, 64], np.float32), ann_id=2)

    class One(list):
        def objects(self, image_id):
            return Objects(np.array([[0, 0, 20, 20], [64, 32, 96, 64]], np.float32), ("a", "b"), (1, 2))

    report = localization_report(Perfect(), One([sample]), crops=False)
    assert report["all"] == {"n": 1, "dense_r1": 1.0, "dense_category": 1.0, "window_iou": 1.0}


def test_the_right_category_counts_apart_from_the_right_box():
    class Confused:
        """CLIP whose features grow to the right, so that the rightmost box is chosen."""

        grid, dim = 16, 2

        def encode_text(self, texts):
            return np.tile(np.array([[1, 0]], np.float32), (len(texts), 1))

        def encode_dense(self, images):
            maps = np.ones((1, 16, 16, 2), np.float32)
            maps[..., 0] = np.arange(16)
            return maps

        def encode_boxes(self, pixels, boxes):
            return np.stack([-boxes[:, 0], boxes[:, 0]], 1) / 100  # the leftmost

    sample = replace(RefShapes("refshapes", "val")[0], box=np.array([40, 0, 60, 20], np.float32), ann_id=2)

    class One(list):
        def objects(self, image_id):
            boxes = np.array([[0, 0, 20, 20], [40, 0, 60, 20], [80, 0, 100, 20]], np.float32)
            return Objects(boxes, ("dog", "cat", "cat"), (1, 2, 3))

    figures = localization_report(Confused(), One([sample]))["all"]
    assert (figures["dense_r1"], figures["dense_category"]) == (0.0, 1.0)
    assert (figures["crop_r1"], figures["crop_category"]) == (0.0, 0.0)
