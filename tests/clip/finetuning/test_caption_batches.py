"""Batches of pictures and captions: what captions speak of is in the picture, and no box is in a batch."""

from dataclasses import fields

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.finetuning import caption_batches
from vg_gym.clip.finetuning.caption_batches import CaptionBatch, CaptionBatches, SceneCaptionBatches
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes


def test_a_batch_is_a_pure_function_of_its_step_and_has_no_boxes():
    dataset = RefScenes("train", scenes=8)
    one, two = (SceneCaptionBatches(dataset, 6, (48, 96), strength=1.0, seed=3) for _ in range(2))
    first, again = one.batch(0), two.batch(0)
    assert first.captions == again.captions and first.wrong == again.wrong
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert first.pictures.shape == (6, 48, 48, 3) and first.pictures.dtype == np.uint8
    assert one.batch(1).pictures.shape == (2, 96, 96, 3)  # as many pixels, but not fewer than two pictures
    assert one.batch(2).captions != first.captions
    assert [field.name for field in fields(CaptionBatch)] == ["pictures", "captions", "wrong"]
    assert not set(first.wrong) & set(first.captions)


def test_captions_speak_only_of_things_in_the_crop():
    boxes = np.array([[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]], np.float32)
    corner, half, far = ([0, 0, 0.4, 0.4], [0, 0, 0.2, 0.9], [0.4, 0, 0.5, 0.1])
    shown = [caption_batches._shown(boxes, np.array(window)).tolist() for window in (corner, half, far, box_ops.FULL)]
    assert shown == [[True, False], [False, False], [False, False], [True, True]]


def test_random_windows_are_inside_and_of_all_sizes(rng):
    windows = np.array([caption_batches.random_window(rng) for _ in range(300)])
    assert box_ops.is_valid(windows, (1, 1)).all()
    areas = box_ops.area(windows)
    assert (areas < 0.1).mean() > 0.2 and (areas > 0.5).mean() > 0.1


def test_any_data_set_has_captions_of_whole_pictures():
    dataset = RefShapes("refshapes", "train", scenes=5)
    batch = CaptionBatches(dataset, 4, (32,)).batch(0)
    assert batch.pictures.shape == (4, 32, 32, 3) and batch.wrong == []
    words = {word for i in range(len(dataset)) for word in dataset[i].query.expression.split()}
    swapped = {"left", "right", "leftmost", "rightmost", "and"}
    assert {word for caption in batch.captions for word in caption.split()} <= words | swapped
