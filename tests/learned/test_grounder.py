"""A network as a grounder: images once, boxes to pixels, initial boxes to the network."""

import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym.errors import VGGymError
from vg_gym.learned.batch import Canvas
from vg_gym.learned.grounder import LearnedGrounder, query_batch
from vg_gym.learned.tokenization import Tokens


class Echo(torch.nn.Module):
    """Answers with the initial boxes, or with the left half."""

    canvas = Canvas("square", 32)
    refines = True

    def __init__(self):
        super().__init__()
        self.images = []

    def tokenize(self, texts):
        blank = torch.zeros(len(texts), 3, dtype=torch.long)
        return Tokens(blank, blank == 1, blank == 0)

    def predict(self, batch):
        self.images.append(len(batch.images))
        half = torch.tensor([0.0, 0.0, 0.5, 1.0]).expand(len(batch), 4)
        boxes = half if batch.initial_boxes is None else batch.initial_boxes
        return boxes, torch.ones(len(batch)), {"proposals": boxes[:, None], "rank": torch.arange(len(batch))}


def test_images_are_encoded_once_and_boxes_are_pixels(blind):
    model = Echo()
    found = LearnedGrounder("echo", model, batch_size=6).ground(blind)
    assert model.images == [2, 1]  # four expressions an image, six a batch
    assert [p.box.tolist() for p in found] == [[0, 0, 64, 128]] * 8
    assert found[0].details["proposals"].tolist() == [[0, 0, 64, 128]] and found[5].details["rank"] == 5


def test_initial_boxes_reach_the_network(blind, shapes):
    truth = np.stack([s.box for s in shapes])
    found = LearnedGrounder("echo", Echo(), batch_size=3).ground(blind, truth)
    np.testing.assert_allclose([p.box for p in found], truth, atol=1e-3)
    batch = query_batch(Echo(), blind, truth)
    np.testing.assert_array_equal(batch.initial_boxes.numpy(), box_ops.normalize(truth, (128, 128)))


def test_a_network_that_does_not_refine_refuses_them(blind):
    model = Echo()
    model.refines = False
    with pytest.raises(VGGymError, match="echo.*does not refine"):
        LearnedGrounder("echo", model).ground(blind, np.zeros((8, 4), np.float32))
