"""From many boxes to one."""

import numpy as np
import torch

from vg_gym.diffusion.choose import heaviest, region_weights, weighted_mode

BOXES = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.1, 0.1, 0.5, 0.6], [0.7, 0.7, 0.9, 0.9], [0.7, 0.7, 0.9, 0.8]]])


def test_the_mode_is_where_most_of_the_weight_is():
    by_number = weighted_mode(BOXES, torch.tensor([[0.5, 0.5, 0.6, 0.1]]))
    torch.testing.assert_close(by_number[0, :3], torch.tensor([0.1, 0.1, 0.5]))
    assert 0.5 < by_number[0, 3] < 0.6
    torch.testing.assert_close(weighted_mode(BOXES, torch.tensor([[0.1, 0.1, 0.9, 0.0]]))[0], BOXES[0, 2])
    torch.testing.assert_close(heaviest(BOXES, torch.tensor([[0.5, 0.5, 0.6, 0.1]]))[0], BOXES[0, 2])


def test_no_weight_still_gives_a_box():
    assert weighted_mode(BOXES, torch.zeros(1, 4))[0].tolist() in BOXES[0].tolist()


def test_clip_prefers_the_region_that_fits():
    dense = np.zeros((1, 4, 4, 2), np.float32)
    dense[..., 0], dense[0, 2:, 2:] = 1.0, [0.0, 1.0]
    weights = region_weights(dense, np.array([[0.0, 1.0]], np.float32), BOXES.numpy(), scale=10.0)
    assert weights.shape == (1, 4) and weights.sum() == np.float32(1) and weights[0, 2:].min() > 0.49
