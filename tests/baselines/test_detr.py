"""DETR by itself: random weights, or a stub in place of the network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vg_gym.baselines.detectors.base import DetectionBatch
from vg_gym.baselines.detectors.detr import Detr, load_detr
from vg_gym.boxes import to_cxcywh
from vg_gym.errors import VGGymError


@pytest.fixture(scope="module")
def detr():
    torch.manual_seed(0)
    return Detr.small(("cross", "star"), image_size=64, width=24, queries=5)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (40, 80, 3), dtype=np.uint8)


def stubbed(detr, **options):
    """A DETR whose network always answers with two boxes, and the inputs that it sees."""
    seen = []

    def network(pixel_values, **_):
        seen.append(pixel_values)
        boxes = torch.tensor([[0.5, 0.5, 0.5, 0.25], [0.9, 0.5, 0.4, 0.5]])  # centre and size
        logits = torch.tensor([[-9.0, 2.0], [-9.0, -1.0]])
        count = len(pixel_values)
        return SimpleNamespace(logits=logits.expand(count, -1, -1), pred_boxes=boxes.expand(count, -1, -1))

    stub = Detr(detr.module, detr.processor, **options)
    stub.module = type("Network", (), {"config": detr.module.config, "__call__": staticmethod(network)})()
    return stub, seen


def test_boxes_are_in_pixels_of_an_image_that_is_not_square(detr, image):
    stub, seen = stubbed(detr)
    (found,) = stub.propose([image])
    np.testing.assert_allclose(found.boxes[:2], [[20, 15, 60, 25], [56, 10, 80, 30]], atol=1e-4)
    assert found.labels[:2] == ("star", "star")
    np.testing.assert_allclose(found.scores[:2], 1 / (1 + np.exp([-2.0, 1.0])), rtol=1e-5)
    assert seen[0].shape == (1, 3, 64, 64) and 0 <= seen[0].min() and seen[0].max() <= 1


def test_boxes_below_the_least_score_are_left_out(detr, image):
    stub, _ = stubbed(detr, min_score=0.5)
    assert len(stub.propose([image])[0]) == 1
    stub, _ = stubbed(detr, min_score=0.95)
    assert len(stub.propose([image])[0]) == 0


def test_random_weights_propose_at_most_the_number_of_queries(detr, image):
    proposals = Detr(detr.module, detr.processor, min_score=0.0, batch_size=2).propose([image] * 3)
    assert all(0 < len(p) <= 5 and (np.diff(p.scores) <= 0).all() for p in proposals)
    assert all((p.boxes >= 0).all() and (p.boxes <= [80, 40, 80, 40]).all() for p in proposals)


def test_targets_are_centre_and_size_in_fractions_of_the_image(detr):
    targets = []
    stub = Detr(detr.module, detr.processor)
    stub.module = lambda pixel_values, labels: targets.extend(labels) or SimpleNamespace(loss=torch.tensor(3.0))
    boxes = torch.tensor([[16.0, 8.0, 48.0, 24.0]])
    batch = DetectionBatch(torch.rand(1, 3, 64, 64), [boxes], [torch.tensor([1])], torch.zeros(1, 1, 1))
    assert float(stub.losses(batch)["detr"]) == 3
    torch.testing.assert_close(targets[0]["boxes"], torch.tensor([[0.5, 0.25, 0.5, 0.25]]))
    torch.testing.assert_close(targets[0]["boxes"] * 64, to_cxcywh(boxes))
    assert targets[0]["class_labels"].tolist() == [1]


def test_a_saved_detector_is_read_back(detr, image, tmp_path):
    detr.save(tmp_path)
    loaded = load_detr(str(tmp_path), min_score=0.0)
    assert loaded.categories == ("cross", "star") and loaded.image_size == 64
    (mine,), (theirs,) = Detr(detr.module, detr.processor, min_score=0.0).propose([image]), loaded.propose([image])
    np.testing.assert_allclose(np.sort(mine.scores), np.sort(theirs.scores), atol=5e-3)  # weights in half precision


def test_a_folder_without_a_detector_is_named(tmp_path):
    with pytest.raises(VGGymError, match="no weights .* for detr: .*detr.weights="):
        load_detr(str(tmp_path))
    with pytest.raises(VGGymError, match="detr.*min_scor"):
        load_detr("refshapes", min_scor=0.1)
