"""SAM by itself: random weights, or stubs in place of the mask generators."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vg_gym.baselines.detectors import sam as sam_module
from vg_gym.baselines.detectors.base import DetectionBatch
from vg_gym.baselines.detectors.sam import Sam, UltralyticsSam, load_sam
from vg_gym.errors import VGGymError


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return Sam.small(image_size=64, width=32, depth=1)


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (32, 128, 3), dtype=np.uint8)


def mask_of(size, box):
    mask = np.zeros(size, dtype=bool)
    x1, y1, x2, y2 = box
    mask[y1:y2, x1:x2] = True
    return mask


@pytest.fixture
def generator(monkeypatch):
    """Mask generator that answers with three masks of the network's square, and records what it is given."""
    calls = SimpleNamespace(images=[], options=None)

    class Generator:
        def __init__(self, module, **options):
            calls.options = options

        def generate(self, pixels):
            calls.images.append(pixels)
            size = pixels.shape[:2]
            records = (((8, 16, 24, 32), 0.6), ((0, 0, size[1], size[0]), 0.9), ((5, 5, 5, 5), 0.8))
            return [{"segmentation": mask_of(size, box), "predicted_iou": score} for box, score in records]

    monkeypatch.setattr(sam_module, "_segment_anything", lambda: SimpleNamespace(SamAutomaticMaskGenerator=Generator))
    return calls


def test_masks_of_the_stretched_image_become_boxes_of_the_original(sam, image, generator):
    (found,) = sam.propose([image])
    assert generator.images[0].shape == (64, 64, 3)
    assert found.boxes.tolist() == [[16, 8, 48, 16]]  # the whole image and the empty mask are left out
    assert found.masks.shape == (1, 32, 128) and found.masks[0].sum() == 32 * 8
    np.testing.assert_allclose(found.scores, [0.6])


def test_published_models_see_the_image_as_it_is(sam, image, generator):
    published = Sam(sam.module, points_per_side=7, min_score=0.2, min_stability=0.3, nms_iou=0.4)
    (found,) = published.propose([image])
    assert generator.images[0].shape == image.shape and found.boxes.tolist() == [[8, 16, 24, 32]]
    named = ("points_per_side", "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh")
    assert [generator.options[name] for name in named] == [7, 0.2, 0.3, 0.4]


def test_every_option_is_part_of_the_fingerprint(sam):
    options = {"points_per_side": 3, "min_score": 0.1, "min_stability": 0.1, "nms_iou": 0.1, "largest": 0.1}
    marks = {Sam(sam.module, **{name: value}).fingerprint for name, value in options.items()}
    assert len({*marks, Sam(sam.module).fingerprint, Sam(sam.module, stretch=True).fingerprint}) == 7


def test_points_lie_in_their_objects():
    segments = torch.zeros(16, 16, dtype=torch.uint8)
    segments[2:5, 8:12], segments[10:12, 1:3] = 1, 2
    torch.manual_seed(0)
    points, truth = sam_module._prompts(segments, 3)  # the third object is hidden
    assert points.shape == (4, 2) and truth.shape == (4, 16, 16)
    for number, (x, y) in zip((1, 2), points, strict=False):
        assert segments[int(y), int(x)] == number
        assert torch.equal(truth[number - 1] > 0, segments == number)
    assert points[2].tolist() == [0.5, 0.5] and not truth[2].any()
    assert segments[int(points[3, 1]), int(points[3, 0])] == 0 and not truth[3].any()


def test_losses_are_finite_and_reach_the_decoder(sam):
    segments = torch.zeros(1, 64, 64, dtype=torch.uint8)
    segments[0, 10:30, 20:50] = 1
    boxes = [torch.tensor([[20.0, 10.0, 50.0, 30.0]])]
    torch.manual_seed(0)
    losses = sam.losses(DetectionBatch(torch.rand(1, 3, 64, 64), boxes, [torch.tensor([0])], segments))
    assert losses.keys() == {"focal", "dice", "quality"} and all(loss >= 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in sam.module.mask_decoder.parameters() if p.grad is not None)
    assert sam.module.mask_decoder.iou_token.weight.grad.abs().sum() > 0
    sam.module.zero_grad()


def test_masks_of_ultralytics_become_boxes(image, monkeypatch, tmp_path):
    seen = []

    class Model:
        def __init__(self, path):
            self.results = [torch.from_numpy(mask_of((32, 128), (10, 4, 30, 20)))[None], None]

        def predict(self, bgr, **options):
            seen.append((bgr, options))
            masks = self.results.pop(0)
            return [SimpleNamespace(
                masks=None if masks is None else SimpleNamespace(data=masks),
                boxes=SimpleNamespace(conf=torch.tensor([0.7])),
            )]  # fmt: skip

    downloads = SimpleNamespace(attempt_download_asset=str)
    package = SimpleNamespace(utils=SimpleNamespace(downloads=downloads), SAM=Model)
    monkeypatch.setattr(sam_module, "ultralytics_package", lambda: package)
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "mobile_sam.pt")
    sam = UltralyticsSam(str(tmp_path / "mobile_sam.pt"), image_size=256, min_score=0.3)
    found, nothing = sam.propose([image, image])
    assert found.boxes.tolist() == [[10, 4, 30, 20]] and len(nothing) == 0
    np.testing.assert_allclose(found.scores, [0.7])
    assert np.array_equal(seen[0][0], image[..., ::-1]) and (seen[0][1]["imgsz"], seen[0][1]["conf"]) == (256, 0.3)


def test_unknown_weights_are_named_with_the_known_ones():
    with pytest.raises(VGGymError, match="no weights 'vit_x' for sam: known models: vit_b, vit_l, vit_h"):
        load_sam("vit_x")
    with pytest.raises(VGGymError, match="sam.*points"):
        load_sam("mobile_sam.pt", points_per_side=3)  # an option of segment-anything's models
