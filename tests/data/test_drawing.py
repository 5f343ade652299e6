import numpy as np
import pytest
from PIL import Image, ImageFont, ImageSequence

from vg_gym.data.drawing import BOX, TARGET, _shortened, contact_sheet, draw_frame, film, save_gif
from vg_gym.data.worlds.refshapes.scenes import COLORS
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset

MIDDLE = np.array([0.25, 0.5, 0.75, 1.0], np.float32)


def gray(height=64, width=64):
    return np.full((height, width, 3), 90, np.uint8)


def places(frame, color):
    """Rows and columns (N, 2) of the pixels of a colour."""
    return np.argwhere((np.abs(frame.astype(int) - color) <= 3).all(-1))


def image_part(frame, size=512):
    """A frame without its caption, whose score bar has the colour of the box."""
    return frame[:size]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 90), (900, 600), (1, 40), (40, 1), (1, 3000), (3000, 1)])
def test_any_image_is_scaled_to_a_legible_size(height, width):
    frame = draw_frame(gray(height, width), MIDDLE, MIDDLE, [MIDDLE], "the ring", 0.3, 0.2, "1/2")
    caption = draw_frame(gray(), MIDDLE).shape[0] - 512
    assert frame.dtype == np.uint8 and max(frame.shape[0] - caption, frame.shape[1]) == 512


def test_the_box_is_drawn_where_it_is():
    drawn = places(image_part(draw_frame(gray(), MIDDLE)), BOX)
    np.testing.assert_allclose(drawn.min(0), [256, 128], atol=2)
    np.testing.assert_allclose(drawn.max(0), [511, 383], atol=2)


def test_the_target_is_dashed_and_only_drawn_where_known():
    box = np.array([0, 0, 0.2, 0.2], np.float32)
    assert len(places(draw_frame(gray(), box), TARGET)) == 0
    frame = draw_frame(gray(), box, target=MIDDLE)
    row = (np.abs(frame[256, 128:384].astype(int) - TARGET) <= 3).all(-1)
    assert 0.3 < row.mean() < 0.8 and np.abs(np.diff(row.astype(int))).sum() > 10


def test_older_boxes_are_fainter():
    trail = [np.array([x, 0.1, 0.9, 0.9], np.float32) for x in (0.1, 0.2, 0.3)]
    frame = draw_frame(gray(), np.array([0.5, 0.5, 0.6, 0.6], np.float32), trail=trail)
    oldest, middle, newest = (int(frame[300, round(512 * x) : round(512 * x) + 3, 0].max()) for x in (0.1, 0.2, 0.3))
    assert 90 < oldest < middle < newest


@pytest.mark.parametrize("score", [-0.4, 0.0, 0.25, 0.7, 1.3])
def test_the_bar_is_as_long_as_the_score(score):
    last = draw_frame(gray(), MIDDLE, score=score)[-1]
    lit = (np.abs(last.astype(int) - BOX) <= 3).all(-1).sum()
    assert lit == pytest.approx(512 * min(max(score, 0), 1), abs=1.5)
    assert len(places(draw_frame(gray(), MIDDLE)[512:], BOX)) == 0


@pytest.mark.parametrize("change", [{"expression": "the ring"}, {"score": 0.5}, {"iou": 0.5}, {"step": "2/9"}], ids=str)
def test_every_part_of_the_caption_shows_below_the_image(change):
    plain, told = draw_frame(gray(), MIDDLE), draw_frame(gray(), MIDDLE, **change)
    np.testing.assert_array_equal(image_part(plain), image_part(told))
    assert not np.array_equal(plain[512:], told[512:])


def test_captions_fit_on_one_line():
    font = ImageFont.load_default(13)
    assert _shortened("the red ring", font, 500) == "the red ring"
    assert _shortened("the\nred \t ring", font, 500) == "the red ring"
    cut = _shortened("the red ring " * 30, font, 200)
    assert cut.startswith("the red ring") and cut.endswith("…") and 150 < font.getlength(cut) <= 200
    assert _shortened("the red ring", font, -5) == ""


def test_the_image_given_is_left_alone():
    image = gray()
    draw_frame(image, MIDDLE, MIDDLE, [MIDDLE], "the ring", 0.5)
    np.testing.assert_array_equal(image, gray())


def test_a_contact_sheet_holds_every_frame():
    frames = [np.full((10 + i, 20, 3), 10 * (i + 1), np.uint8) for i in range(5)]
    sheet = contact_sheet(frames, columns=2, gap=4)
    assert sheet.shape == (3 * (14 + 4) + 4, 2 * (20 + 4) + 4, 3)
    for i, frame in enumerate(frames):
        assert (sheet == 10 * (i + 1)).all(-1).sum() == frame.shape[0] * frame.shape[1]
    with pytest.raises(VGGymError, match="frames= is empty"):
        contact_sheet([])


def test_the_sheet_is_in_reading_order():
    sheet = contact_sheet([np.full((4, 4, 3), v, np.uint8) for v in (1, 2, 3)], columns=2, gap=0)
    assert sheet[0, 0, 0] == 1 and sheet[0, 4, 0] == 2 and sheet[4, 0, 0] == 3 and sheet[4, 4, 0] == 255


def test_a_film_glides_from_box_to_box():
    path = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], dtype=np.float32)
    frames = film(np.zeros((40, 40, 3), dtype=np.uint8), path, path[1], "the dot", size=200, between=3)
    assert len(frames) == 5 and {frame.shape for frame in frames} == {(244, 200, 3)}
    rows = [np.flatnonzero((frame[:200, 100] == BOX).all(-1)).max(initial=0) for frame in frames]
    assert rows == sorted(rows, reverse=True) and rows[0] >= 198 and rows[3] < 130


def test_a_gif_has_every_frame_and_stays_at_the_end(tmp_path):
    shades = [np.full((80, 60, 3), shade, dtype=np.uint8) for shade in (0, 100, 200)]
    save_gif(shades, tmp_path / "a.gif", fps=5, hold=2)
    with Image.open(tmp_path / "a.gif") as saved:
        assert (saved.n_frames, saved.size, saved.info["loop"]) == (3, (60, 80), 0)
        durations = []
        for frame in ImageSequence.Iterator(saved):
            durations.append(frame.info["duration"])
    assert durations == [200, 200, 2000]


def test_a_rare_colour_keeps_its_hue_in_a_gif(tmp_path):
    sample = open_dataset("refshapes", "test", scenes=1)[0]
    frame = np.kron(sample.query.image.array(), np.ones((3, 3, 1), dtype=np.uint8))
    for number, color in enumerate(COLORS.values()):
        frame[4:16, 4 + 14 * number : 16 + 14 * number] = color
    save_gif([frame] * 3, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as saved:
        pixels = np.asarray(saved.convert("RGB")).astype(int)
    for number, color in enumerate(COLORS.values()):
        assert np.abs(pixels[4:16, 4 + 14 * number : 16 + 14 * number] - color).max() <= 24


def test_a_gif_without_frames_is_refused(tmp_path):
    with pytest.raises(VGGymError, match="no frames"):
        save_gif([], tmp_path / "a.gif")
