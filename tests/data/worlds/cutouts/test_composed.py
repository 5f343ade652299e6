"""Flat scenes out of cut-outs of a user."""

import pickle
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.reachable import answers
from vg_gym.data.worlds.cutouts.collage import graph_of_collage, segments_of
from vg_gym.data.worlds.cutouts.composed import KINDS, ComposedScenes, labels_of
from vg_gym.data.worlds.cutouts.pieces import pixels_of, read_cutouts
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset

SCENES = 12


def cut_out(path, color, size=(60, 40), shape="ellipse", mode="RGBA"):
    """Save a coloured shape with a transparent border."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGBA", size)
    getattr(ImageDraw.Draw(image), shape)((4, 4, size[0] - 5, size[1] - 5), fill=color)
    image.convert(mode).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cutouts")
    cut_out(root / "dog.png", (150, 90, 40, 255))
    cut_out(root / "dog_2.png", (90, 60, 40, 255), (80, 40))
    cut_out(root / "fire_hydrant.png", (200, 20, 20, 255), (30, 60), "rectangle")
    cut_out(root / "ball/1.PNG", (20, 40, 200, 255), (50, 50))
    cut_out(root / "ball/2.png", (20, 200, 40, 255), (50, 50))
    return root


@pytest.fixture(scope="module")
def data(folder):
    return open_dataset("refscenes", "test", scenes=SCENES, compose=str(folder))


def test_nouns_are_the_names_of_files_and_folders(folder, data):
    pieces = {piece.path.relative_to(folder).as_posix(): piece.noun for piece in read_cutouts(str(folder)).pieces}
    assert pieces == {
        "ball/1.PNG": "ball", "ball/2.png": "ball", "dog.png": "dog", "dog_2.png": "dog",
        "fire_hydrant.png": "fire hydrant",
    }  # fmt: skip
    assert data.categories == ("ball", "dog", "fire hydrant")
    assert pixels_of(read_cutouts(str(folder)).pieces[0]).shape == (42, 42, 4)  # without its border


def test_expressions_name_the_nouns_and_no_colour(data):
    texts = [sample.query.expression for sample in data]
    assert len(data) == 4 * SCENES and {sample.kind for sample in data} <= set(KINDS)
    assert len({sample.kind for sample in data}) >= 5
    for sample, text in zip(data, texts, strict=True):
        assert sample.category in text and sample.box.shape == (4,)
        assert not re.search(r"\b(red|green|blue|brown|plain|own|striped|sitting|standing|puppy)\b", text), text


def test_each_expression_means_its_target_alone(data):
    for scene in range(SCENES):
        record = data.record(scene)
        labels = labels_of(record)
        segments, visible = segments_of(labels.collage, record.cutouts)
        boxes = np.zeros((len(labels.collage.things), 4))
        boxes[list(labels.numbers)] = labels.boxes
        graph = graph_of_collage(labels.collage, record.cutouts, boxes, visible)
        for sample in data[4 * scene : 4 * scene + 4]:
            number = sample.ann_id - sample.image_id * 100
            noun = f"own {sample.category}"
            same = [i for i in graph.targets if graph.things[i].kind == noun]
            assert number in same and visible[number] >= 0.4
            if sample.kind == "attribute":
                assert same == [number]
            if sample.kind == "depth" and re.search("nearest|closest|front|foreground", sample.query.expression):
                assert graph.depth[number] == min(graph.depth[same])
            if sample.query.expression.startswith("the rightmost"):
                assert boxes[number, ::2].mean() == max(boxes[same][:, ::2].mean(1))
        assert segments.max() <= len(labels.collage.things)


def test_boxes_are_those_of_the_visible_pixels_and_nearer_things_are_in_front(data):
    for sample in data[::4]:
        objects, segments = data.objects(sample.image_id), data.segments(sample.image_id)
        assert segments.shape == sample.query.image.size[::-1] == sample.query.image.array().shape[:2]
        for number, (x1, y1, x2, y2) in enumerate(objects.boxes.astype(int), start=1):
            rows, columns = np.nonzero(segments == number)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)
        things = labels_of(data.record(sample.image_id % 1000)).collage.things
        assert [thing.distance for thing in things] == sorted((thing.distance for thing in things), reverse=True)
        pixels = sample.query.image.array()[segments == 1 + objects.ann_ids.index(sample.ann_id)]
        shown = {"dog": (150, 90, 40), "fire hydrant": (200, 20, 20)}.get(sample.category)
        if shown == (200, 20, 20):
            assert np.abs(np.median(pixels, axis=0) - shown).max() <= 3


def test_the_same_seed_gives_the_same_and_splits_differ(folder, data):
    again = ComposedScenes(str(folder), "test", SCENES)
    other = ComposedScenes(str(folder), "val", SCENES)
    for sample, copy in zip(data, again, strict=True):
        assert sample.query.key == copy.query.key and np.array_equal(sample.box, copy.box)
    assert np.array_equal(data[0].query.image.array(), again[0].query.image.array())
    assert not {tuple(s.box.tolist()) for s in data} & {tuple(s.box.tolist()) for s in other}


def test_queries_lead_to_no_answer(data):
    for sample in data[:8]:
        sample.query.image.array()
        assert not [path for path, _ in answers(sample)]
        assert np.array_equal(pickle.loads(pickle.dumps(sample.query)).image.array(), sample.query.image.array())


def with_two(root):
    cut_out(root / "dog.png", (9, 9, 9, 255))
    cut_out(root / "cat.png", (99, 9, 9, 255))


def missing(root):
    root.rmdir()


def of_one_noun(root):
    cut_out(root / "dog.png", (9, 9, 9, 255))
    cut_out(root / "dog_2.png", (9, 9, 9, 255))


def without_alpha(root):
    with_two(root)
    cut_out(root / "cow.png", (9, 9, 9, 255), mode="RGB")


def empty(root):
    with_two(root)
    cut_out(root / "cow.png", (9, 9, 9, 100))


def broken(root):
    with_two(root)
    (root / "cow.png").write_bytes((root / "dog.png").read_bytes()[:60])


def numbered(root):
    with_two(root)
    cut_out(root / "000123.png", (9, 9, 9, 255))


@pytest.mark.parametrize(
    "layout, message",
    [
        (missing, "no such folder"),
        (lambda root: None, "no PNG file"),
        (of_one_noun, "all 2 cut-outs show a dog"),
        (without_alpha, "cow.png: no alpha channel"),
        (empty, "cow.png: its mask is empty"),
        (broken, "cow.png: cannot be read as a picture"),
        (numbered, "000123.png: its noun would be ''"),
    ],
)
def test_mistakes_are_named(tmp_path, layout, message):
    layout(tmp_path)
    with pytest.raises(VGGymError, match=message) as caught:
        open_dataset("refscenes", "test", compose=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_options_that_do_not_apply_are_named(folder):
    for name, split, options, message in (
        ("refscenes-any", "test", {}, "refscenes-any has no compose"),
        ("refscenes", "test-crowded", {}, "has no split 'test-crowded'"),
        ("refscenes", "test", {"image_size": 64}, "image_size=64"),
        ("refscenes", "test", {"scenes": 0}, "scenes=0"),
    ):
        with pytest.raises(VGGymError, match=message):
            open_dataset(name, split, compose=str(folder), **options)


def test_a_folder_that_changed_is_not_drawn(tmp_path):
    with_two(tmp_path)
    query = pickle.loads(pickle.dumps(ComposedScenes(str(tmp_path), "test", 1)[0].query))
    cut_out(tmp_path / "dog.png", (200, 9, 9, 255))
    read_cutouts.cache_clear()
    with pytest.raises(VGGymError, match="have changed"):
        query.image.array()
