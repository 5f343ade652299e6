"""Crops: those of a GPU are those of Pillow, to the bit."""

import numpy as np
import pytest
import torch

from vg_gym.clip.crops import KERNELS, blur, crop, crop_and_resize, pixel_boxes, resize


def random_image(rng, height=50, width=70):
    return rng.integers(0, 255, (height, width, 3)).astype(np.uint8)


def assert_as_pillow(images, boxes, size):
    for kernel in KERNELS:
        crops = crop_and_resize([torch.from_numpy(image) for image in images], boxes, size, kernel).permute(0, 2, 3, 1)
        cut = [crop(image, box) for image, box in zip(images, boxes, strict=True)]
        np.testing.assert_array_equal(crops.numpy(), np.stack([resize(part, size, kernel) for part in cut]))


@pytest.mark.parametrize("size", [1, 7, 32, 64, 224])
def test_tensor_crops_are_pillows(size, rng):
    images = [random_image(rng, *rng.integers(1, 300, 2)) for _ in range(70)]
    corners = np.sort(rng.uniform(-0.1, 1.1, (70, 2, 2)), axis=1)
    corners *= np.array([image.shape[1::-1] for image in images])[:, None]
    assert_as_pillow(images, corners.reshape(-1, 4).astype(np.float32), size)


def test_tensor_crops_of_boxes_at_edges(rng):
    boxes = [[0, 0, 70, 50], [0, 0, 1, 50], [0, 49, 70, 50], [69.5, 49.5, 70, 50], [3, 3, 35, 35], [3, 3, 35, 50]]
    boxes += [[20, 0, 21, 50], [0.5, 0.5, 33.5, 2], [-9, -9, 90, 90], [70, 50, 70, 50], [5.5, 5.5, 5.5, 5.5]]
    images = [random_image(rng)] * len(boxes)
    assert_as_pillow(images, np.array(boxes, np.float32), 32)
    assert crop_and_resize([], np.zeros((0, 4), np.float32), 32).shape == (0, 3, 32, 32)


def test_whole_pixels_are_those_of_the_crop(rng):
    boxes = rng.uniform(-20, 90, (200, 4)).astype(np.float32)
    image = random_image(rng)
    for box, (x1, y1, x2, y2) in zip(boxes, pixel_boxes(boxes, (70, 50)).tolist(), strict=True):
        assert 0 <= x1 < x2 <= 70 and 0 <= y1 < y2 <= 50
        np.testing.assert_array_equal(crop(image, box), image[y1:y2, x1:x2])


def test_blur_is_a_copy_that_keeps_what_is_even(rng):
    image = random_image(rng)
    before = image.copy()
    blurred = blur(image, 5)
    assert blurred.shape == image.shape and blurred.dtype == np.uint8 and blurred.flags.writeable
    assert blurred.std() < image.std() / 3
    blurred[:] = 0
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(blur(np.full((9, 9, 3), 77, np.uint8), 5), np.full((9, 9, 3), 77))
