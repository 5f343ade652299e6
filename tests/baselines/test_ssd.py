"""SSD by itself: random weights, or a stub in place of the network."""

import numpy as np
import pytest
import torch

from vg_gym.baselines.detectors.base import DetectionBatch
from vg_gym.baselines.detectors.ssd import Ssd, load_ssd
from vg_gym.errors import VGGymError


@pytest.fixture(scope="module")
def ssd():
    torch.manual_seed(0)
    return Ssd.small(("cross", "star"), image_size=64)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)


def detections(boxes, scores, labels):
    return {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(labels)}


def test_boxes_are_in_pixels_of_the_image_and_labels_begin_at_one(ssd, image, monkeypatch):
    seen = []

    def network(tensors):
        seen.extend(tensors)
        return [detections([[5.0, 6.0, 20.0, 16.0], [-4.0, 2.0, 60.0, 29.0]], [0.4, 0.9], [1, 2]) for _ in tensors]

    monkeypatch.setattr(ssd, "network", network)
    (found,) = ssd.propose([image])
    assert found.boxes.tolist() == [[0, 2, 50, 29], [5, 6, 20, 16]]  # best first, clamped to the image
    assert found.labels == ("star", "cross")
    np.testing.assert_allclose(found.scores, [0.9, 0.4])
    np.testing.assert_allclose(seen[0].permute(1, 2, 0).numpy() * 255, image, atol=1e-4)


def test_images_are_divided_into_batches(image, monkeypatch):
    ssd = Ssd(Ssd.small(("cross",), image_size=64).module, ("cross",), batch_size=2)
    sizes = []

    def network(tensors):
        sizes.append(len(tensors))
        return [detections([[0.0, 0.0, float(tensor.shape[2]), 9.0]], [0.5], [1]) for tensor in tensors]

    monkeypatch.setattr(ssd, "network", network)
    widths = (20, 30, 40, 50, 10)
    found = ssd.propose([image[:, :width] for width in widths])
    assert sorted(sizes) == [1, 2, 2]
    assert [int(p.boxes[0, 2]) for p in found] == list(widths)


def test_thresholds_reach_the_network(ssd, image):
    module = ssd.module
    (everything,) = Ssd(module, ssd.categories, min_score=0.0, nms_iou=1.0).propose([image])
    (distinct,) = Ssd(module, ssd.categories, min_score=0.0, nms_iou=0.1).propose([image])
    (nothing,) = Ssd(module, ssd.categories, min_score=1.0).propose([image])
    assert len(everything) > len(distinct) > 0 == len(nothing)
    assert (everything.boxes >= 0).all() and (everything.boxes <= [50, 30, 50, 30]).all()


def test_losses_are_finite_and_reach_the_weights(ssd):
    images = torch.rand(2, 3, 64, 64)
    boxes, labels = torch.tensor([[4.0, 4.0, 40.0, 30.0]]), torch.tensor([1])
    batch = DetectionBatch(images, [boxes, boxes], [labels, labels], torch.zeros(2, 1, 1))
    ssd.module.train()
    losses = ssd.losses(batch)
    ssd.module.eval()
    assert losses.keys() == {"box", "class"} and all(loss > 0 for loss in losses.values())
    assert all(
        grad.isfinite().all() for grad in torch.autograd.grad(sum(losses.values()), ssd.module.head.parameters())
    )


def test_weights_of_another_architecture_are_named(ssd, tmp_path):
    torch.save(ssd.module.state_dict(), tmp_path / "small.pth")
    with pytest.raises(VGGymError, match=r"no weights 'ssd300_vgg16:.*small.pth' for ssd: .*ssd.weights="):
        load_ssd(f"ssd300_vgg16:{tmp_path / 'small.pth'}")
    with pytest.raises(VGGymError, match="known architectures: ssd300_vgg16"):
        load_ssd("ssd512")
