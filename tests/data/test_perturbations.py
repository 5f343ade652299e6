import numpy as np
import pytest

from vg_gym import boxes as box_ops
from vg_gym.data import perturbations
from vg_gym.data.images import ArrayImage
from vg_gym.data.perturbations import INITIAL_BOXES, MEANINGLESS, NAMES, PICTURES, filled, initial_box, perturbed
from vg_gym.data.phrasings import PHRASINGS
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.types import Objects, Query, Sample

SHAPES = RefShapes("refshapes", "test", scenes=4)
BACK, RED, BLUE = (30, 60, 90), (250, 10, 10), (10, 10, 250)


class Blocks:
    """One picture (160, 240) with a red block at the left, which is meant, and a blue one at the right."""

    name, split, categories = "blocks", "test", ("block",)
    boxes = np.array([[24, 32, 88, 96], [160, 48, 216, 128]], dtype=np.float32)

    def __init__(self):
        pixels = np.full((160, 240, 3), BACK, dtype=np.uint8)
        for (x1, y1, x2, y2), color in zip(self.boxes.astype(int), (RED, BLUE), strict=True):
            pixels[y1:y2, x1:x2] = color
        self.image = ArrayImage(pixels, "blocks")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        words = ("the red block on the left", "the block nobody sees")[index]
        return Sample(Query(self.image, words, f"blocks/{index}"), self.boxes[:1], "block", image_id=index)

    def objects(self, image_id):
        return Objects(self.boxes, ("block", "block"), (0, 1))


def box_of(pixels, color, tolerance=110):
    """The box of the pixels nearer to a colour than a tolerance."""
    near = np.abs(pixels.astype(int) - color).sum(axis=2) < tolerance
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float32)


@pytest.mark.parametrize("name", ["x0.5", "x1.5", "2:1", "padded", "JPEG 30", "mirrored", "noise"])
def test_boxes_follow_the_pixels(name):
    data = Blocks()
    sample = perturbed(data[0], name, data)
    overlap = box_ops.pixel_iou(sample.boxes, box_of(sample.query.image.array(), RED)[None])
    assert overlap[0] > 0.85, (sample.boxes, box_of(sample.query.image.array(), RED))
    width, height = sample.query.image.size
    assert (sample.boxes >= 0).all() and (sample.boxes <= [width, height, width, height]).all()


@pytest.mark.parametrize(("name", "factor"), [("brightness 0.6", 0.6), ("brightness 1.4", 1.4)])
def test_brightness_scales_the_levels_and_leaves_boxes(name, factor):
    data = Blocks()
    sample = perturbed(data[0], name, data)
    before, after = data.image.array()[0, 0], sample.query.image.array()[0, 0]
    assert after.tolist() == np.rint(before * factor).astype(int).tolist()
    assert sample.boxes.tolist() == data[0].boxes.tolist()


def test_grey_has_no_colour_and_keeps_the_words():
    data = Blocks()
    sample = perturbed(data[0], "grey", data)
    assert np.ptp(sample.query.image.array(), axis=2).max() == 0
    assert sample.query.expression == data[0].query.expression


def test_the_mirror_turns_the_words():
    data = Blocks()
    assert perturbed(data[0], "mirrored", data).query.expression == "the red block on the right"


@pytest.mark.parametrize(("name", "gone", "left"), [("target erased", RED, BLUE), ("one object alone", BLUE, RED)])
def test_objects_are_erased_and_the_others_stay(name, gone, left):
    data = Blocks()
    pixels = perturbed(data[0], name, data).query.image.array()
    assert np.abs(pixels.astype(int) - gone).sum(axis=2).min() > 110
    assert box_of(pixels, left, tolerance=1).tolist() == Blocks.boxes[0 if left == RED else 1].tolist()


@pytest.mark.parametrize("data", [SHAPES, RefScenes("test", scenes=1)], ids=["refshapes", "refscenes"])
def test_segments_erase_the_object_and_no_other(data):
    sample = data[0]
    objects, segments = data.objects(sample.image_id), data.segments(sample.image_id)
    row = 1 + int(np.abs(objects.boxes - sample.box).sum(1).argmin())
    changed = (perturbed(sample, "target erased", data).query.image.array() != sample.query.image.array()).any(2)
    assert changed[segments == row].mean() > 0.9
    assert not changed[(segments > 0) & (segments != row)].any()


def test_filled_pixels_continue_their_surroundings():
    pixels = np.full((12, 12, 3), 100, dtype=np.uint8)
    pixels[4:8, 4:8] = 250
    mask = np.zeros((12, 12), dtype=bool)
    mask[4:8, 4:8] = True
    assert (filled(pixels, mask) == 100).all()
    assert (filled(pixels, np.zeros_like(mask)) == pixels).all()


@pytest.mark.parametrize("name", NAMES)
def test_perturbed_samples_are_pure_and_show_no_answer(name):
    sample = SHAPES[5]
    one, same, other = (perturbed(sample, name, SHAPES, seed) for seed in (0, 0, 1))
    assert one.query.expression == same.query.expression and one.boxes.tolist() == same.boxes.tolist()
    assert (one.query.image.array() == same.query.image.array()).all()
    if name in ("typo", "nonsense", "words of another scene"):
        assert one.query.expression != other.query.expression
    assert set(vars(one.query)) == {"image", "expression", "key"} and one.query.key == f"{sample.query.key}?{name}"
    picture = {"image"} if name in PHRASINGS or name in MEANINGLESS[1:] else set()
    assert ({"image"} if one.query.image is sample.query.image else set()) == picture


def test_words_of_another_scene_are_of_another_scene():
    data = Blocks()
    assert perturbed(data[0], "words of another scene", data).query.expression == data[1].query.expression


def test_initial_boxes_are_bad_ones():
    data = Blocks()
    boxes = [initial_box(data[0], name, data) for name in INITIAL_BOXES]
    assert boxes[2].tolist() == data.boxes[1].tolist()
    assert max(box_ops.pixel_iou(np.stack(boxes), data[0].boxes)) < 0.1
    assert boxes[1].tolist() == [0, 0, 48, 32]


def test_unknown_names_are_refused():
    with pytest.raises(VGGymError, match="unknown perturbation 'upside down'"):
        perturbed(SHAPES[0], "upside down", SHAPES)
    with pytest.raises(VGGymError, match="unknown initial box"):
        initial_box(SHAPES[0], "huge", SHAPES)


def test_every_name_has_one_kind():
    assert len(set(NAMES)) == len(NAMES) == len(PHRASINGS) + len(PICTURES) + len(perturbations.SCENES)


def test_the_expressions_of_a_picture_share_its_changed_pixels():
    first, second = (perturbed(SHAPES[row], "noise", SHAPES).query.image for row in (0, 1))
    assert first.key == second.key
