import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vg_gym.errors import VGGymError
from vg_gym.frames import FRAMES, MIN_CHECKED_BOXES, FrameCheck, from_pixels, is_within, place, say, to_pixels
from vg_gym.language_models.box_text import find_boxes

SIZES = st.tuples(st.integers(3, 1000), st.integers(3, 1000))


@st.composite
def boxes_in_images(draw):
    size = draw(SIZES)
    share = st.floats(0, 1, width=32)
    (x1, x2), (y1, y2) = (sorted((draw(share) * side, draw(share) * side)) for side in size)
    return np.array([x1, y1, x2, y2], dtype=np.float32), size


@pytest.mark.parametrize("frame", FRAMES)
@given(case=boxes_in_images(), seen=SIZES)
def test_a_frame_is_inverted_to_less_than_a_pixel(frame, case, seen):
    """On images of up to 1,000 pixels, whose thousandths are no coarser; ``resized`` where the model saw no fewer."""
    box, size = case
    seen = (max(seen[0], size[0]), max(seen[1], size[1]))
    back = to_pixels(from_pixels(box, frame, size, seen), frame, size, seen)
    assert np.abs(back - box).max() < 1


@pytest.mark.parametrize("frame", FRAMES)
@given(case=boxes_in_images())
def test_what_is_said_is_read(frame, case):
    box, size = case
    (read,) = find_boxes(f"it is {say(box, frame, size, size)}.", frame)
    assert np.abs(to_pixels(np.array(read), frame, size, size) - box).max() < 1


@pytest.mark.parametrize(
    ("frame", "said", "pixels"),
    [
        ("pixels", [10, 20, 30, 40], [10, 20, 30, 40]),
        ("resized", [28, 56, 140, 112], [20, 40, 100, 80]),
        ("0-1000", [0, 100, 500, 1000], [0, 33.3, 100.5, 333]),
        ("0-1000-yx", [100, 0, 1000, 500], [0, 33.3, 100.5, 333]),
        ("normalised", [0.0, 0.5, 0.5, 1.0], [0, 166.5, 100.5, 333]),
        ("loc", [0, 499, 500, 999], [0.1005, 166.3335, 100.6005, 332.8335]),
        ("loc1024", [512, 0, 1023, 256], [0, 166.5, 50.25, 332.6748]),
    ],
)
def test_frames_on_an_image_of_odd_size(frame, said, pixels):
    np.testing.assert_allclose(to_pixels(np.array(said), frame, (201, 333), (281.4, 466.2)), pixels, rtol=1e-5)


def test_corners_in_the_wrong_order_are_put_right_and_boxes_outside_have_no_place():
    assert to_pixels(np.array([30, 40, 10, 20]), "pixels", (50, 50)).tolist() == [10, 20, 30, 40]
    assert place([30, 40, 100, 200], "pixels", (50, 60)).tolist() == [30, 40, 50, 60]
    assert place([60, 10, 70, 20], "pixels", (50, 60)) is None
    assert place([10, 10, 10, 20], "pixels", (50, 60)) is None


def test_errors_name_the_frame():
    with pytest.raises(VGGymError, match="unknown box frame 'normalized': did you mean 'normalised'"):
        to_pixels(np.zeros(4), "normalized", (10, 10))
    with pytest.raises(VGGymError, match="frame 'resized' need the size"):
        to_pixels(np.zeros(4), "resized", (10, 10))


@pytest.mark.parametrize(
    ("frame", "said", "within"),
    [
        ("0-1000", [0, 0, 1000, 1000], True),
        ("0-1000", [0, 0, 1001, 1000], False),
        ("0-1000", [-1, 0, 10, 10], False),
        ("0-1000", [0.1, 0.2, 0.5, 0.9], False),
        ("0-1000-yx", [0, 0, 1000, 1000], True),
        ("pixels", [0, 0, 200, 100], True),
        ("pixels", [0, 0, 100, 200], False),
        ("resized", [0, 0, 100, 50], True),
        ("resized", [0, 0, 200, 100], False),
        ("normalised", [0, 0, 1, 1], True),
        ("normalised", [0, 0, 10, 10], False),
        ("loc1024", [0, 0, 1023, 1023], True),
    ],
)
def test_numbers_of_a_frame_are_within_the_image(frame, said, within):
    assert is_within(said, frame, (200, 100), (100, 50)) is within


def watched(frame, said, size=(640, 480), times=MIN_CHECKED_BOXES):
    check = FrameCheck("a model", frame)
    for _ in range(times):
        check.see(to_pixels(np.array(said), frame, size), size)
    return check


def test_thousandths_read_as_pixels_are_a_loud_warning():
    with pytest.warns(UserWarning, match="8 of 8 boxes reach far outside.*'pixels'.*one of resized, 0-1000"):
        watched("pixels", [300, 200, 990, 700])


def test_fractions_read_as_thousandths_are_a_loud_warning():
    with pytest.warns(UserWarning, match="all 8 boxes lie in the top left corner.*0-1000"):
        watched("0-1000", [0.1, 0.2, 0.8, 0.9])


def test_it_warns_once_and_not_of_few_or_of_good_boxes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        watched("pixels", [300, 200, 990, 700], times=MIN_CHECKED_BOXES - 1)
        watched("0-1000", [300, 200, 990, 700], times=100)
    with pytest.warns(UserWarning) as caught:
        watched("pixels", [300, 200, 990, 700], times=100)
    assert len(caught) == 1
