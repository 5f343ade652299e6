"""Views: ReCLIP's own images, and what each view must leave alone."""

import numpy as np
import pytest

from vg_gym.baselines.visual_prompts import VIEWS, blur, crop, fgvp, red_circle
from vg_gym.boxes import from_xywh
from vg_gym.errors import VGGymError

CASES = "abc"


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)


BOX = np.array([10, 5, 30, 25], dtype=np.float32)


@pytest.mark.parametrize("case", CASES)
def test_published_views(reclip, case):
    settings, tensors = reclip[0][case], reclip[1]
    image, boxes = tensors[f"{case}.image"], from_xywh(tensors[f"{case}.boxes_xywh"])
    for method in settings["methods"].split(","):
        for number in settings["candidates"]:
            box = boxes[number]
            ours = crop(image, box) if method == "crop" else blur(image, box, radius=settings["blur_std_dev"])
            assert np.array_equal(ours, tensors[f"{case}.isolated.{method}.{number}"]), (method, number)


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_pure(name, image):
    before, mask = image.copy(), np.zeros(image.shape[:2], dtype=bool)
    image.flags.writeable = False
    views = [VIEWS[name](image, BOX, mask) for _ in range(2)]
    assert np.array_equal(*views)
    assert views[0].dtype == np.uint8
    assert not np.shares_memory(views[0], image)
    views[0][:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("box", [(0, 0, 60, 40), (0, 0, 0.2, 0.2), (59.9, 39.9, 60, 40), (-5, -5, 80, 70)])
def test_views_of_extreme_boxes(name, box, image):
    view = VIEWS[name](image, np.array(box, dtype=np.float32), np.ones(image.shape[:2], dtype=bool))
    assert view.ndim == 3
    assert view.size > 0


def test_crop_margin(image):
    assert np.array_equal(crop(image, BOX), image[5:25, 10:30])
    assert np.array_equal(crop(image, BOX, margin=0.1), image[3:27, 8:32])
    assert np.array_equal(crop(image, BOX, margin=9), image)
    assert np.array_equal(crop(image, np.array([0.5, 1.5, 2.5, 3.5])), image[2:4, 0:2])  # halves to even


def test_blur_keeps_the_box_and_its_last_edges(image):
    view = blur(image, BOX + 0.9, radius=20)
    kept = (view == image).all(axis=2)
    assert kept[5:26, 10:31].all()
    assert kept.mean() < 21 * 21 / kept.size + 0.05


def test_fgvp_keeps_the_mask(image, rng):
    mask = rng.random(image.shape[:2]) > 0.5
    view = fgvp(image, BOX, mask, radius=20)
    assert np.array_equal(view[mask], image[mask])
    assert view[~mask].std() < 20 < image[~mask].std()
    with pytest.raises(VGGymError, match="masks"):
        fgvp(image, BOX)
    with pytest.raises(VGGymError, match="mask of"):
        fgvp(image, BOX, mask[:-1])


def red_pixels(view):
    return np.argwhere((view == (255, 0, 0)).all(axis=2))


def test_red_circle_touches_the_sides_of_the_box():
    view = red_circle(np.zeros((100, 200, 3), dtype=np.uint8), np.array([40.0, 20.0, 121.0, 71.0]), thickness=0.02)
    red = red_pixels(view)
    assert red.min(axis=0).tolist() == [20, 40]
    assert red.max(axis=0).tolist() == [70, 120]
    assert set(map(tuple, view.reshape(-1, 3).tolist())) == {(0, 0, 0), (255, 0, 0)}
    assert not view[45, 80].any()


def test_red_circle_line_is_scaled_to_the_image():
    lines = []
    for side in (100, 400):
        view = red_circle(
            np.zeros((side, side, 3), dtype=np.uint8), np.array([0.2, 0.2, 0.8, 0.8]) * side, thickness=0.03
        )
        lines.append(int((view[side // 2, : side // 2, 0] == 255).sum()))
    assert lines == [3, 12]


def test_red_circle_through_the_corners():
    box = np.array([60.0, 30.0, 120.0, 70.0])
    view = red_circle(np.zeros((100, 200, 3), dtype=np.uint8), box, stretch=2**0.5)
    red = red_pixels(view)[:, ::-1]
    for corner in ((60, 30), (119, 30), (60, 69), (119, 69)):
        assert np.linalg.norm(red - corner, axis=1).min() < 2
