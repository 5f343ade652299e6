"""Losses of CLIP fine-tuning, by hand."""

import numpy as np
import torch

from vg_gym.clip.finetuning.losses import localization_loss, multi_positive, region_features, word_loss
from vg_gym.clip.region_features import box_mean, l2_normalize, summed_area


def test_region_features_are_the_encoder_s(rng):
    maps = rng.normal(size=(2, 4, 4, 16)).astype(np.float32)
    low = rng.uniform(0, 0.5, (2, 6, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (2, 6, 2))], -1).astype(np.float32)
    ours = region_features(torch.from_numpy(maps), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(ours, l2_normalize(box_mean(summed_area(maps), boxes)), atol=1e-4)


def test_losses_by_hand():
    logits = torch.tensor([[2.0, 0.0, -1.0, 9.0]])
    match = torch.tensor([[1, 1, 0, -1]])
    p = torch.tensor([2.0, 0.0, -1.0]).log_softmax(0)
    torch.testing.assert_close(multi_positive(logits, match), -(p[0] + p[1]) / 2)
    assert multi_positive(logits, torch.zeros(1, 4)) == 0
    overlap, valid = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[True, True, False]])
    target = torch.tensor([0.0, -5.0]).softmax(0)
    expected = -(target * torch.tensor([1.0, 2.0]).log_softmax(0)).sum()
    torch.testing.assert_close(localization_loss(torch.tensor([[1.0, 2.0, 7.0]]), overlap, valid, 0.1), expected)


def test_the_loss_of_words_by_hand():
    """Two captions share a word; the rarer ones count more, and a caption without words counts nothing."""
    images, words, scale = torch.eye(3)[:2], torch.eye(3), torch.tensor(5.0)
    counts = torch.tensor([[2, 0, 1], [0, 0, 1]])
    rare, common = torch.tensor(3 / 2).log(), torch.tensor(3 / 3).log()
    assert common == 0
    first = -(5 * images[0]).log_softmax(-1)[0] * rare / rare
    torch.testing.assert_close(word_loss(images, words, counts, scale), (first + 0) / 2)
    assert word_loss(images, words, torch.zeros(2, 3), scale) == 0
