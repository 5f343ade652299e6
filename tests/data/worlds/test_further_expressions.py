"""Further expressions of scenes that are drawn already."""

import json
from itertools import groupby

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.boxes import iou
from vg_gym.data.worlds import further_expressions
from vg_gym.data.worlds.refscenes.demands import ANY
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.errors import CannotWrite, VGGymError

SCENES = 10


def data(split="train", expressions=None):
    return RefScenes(split, SCENES, image_size=128, expressions=expressions)


def told(samples):
    return [(s.query.expression, s.kind, s.boxes.tolist(), s.sent_id) for s in samples]


@pytest.fixture(autouse=True)
def forgotten():
    further_expressions._further.cache_clear()
    yield
    further_expressions._further.cache_clear()


def test_the_first_expressions_are_those_that_are_drawn():
    few, usual, many = (told(data(expressions=count)) for count in (2, None, 10))
    assert [many[10 * scene + i] for scene in range(SCENES) for i in range(4)] == usual
    assert [usual[4 * scene + i] for scene in range(SCENES) for i in range(2)] == few
    assert len(many) == 10 * SCENES and len({sent_id for *_, sent_id in many}) == 10 * SCENES


def test_further_expressions_differ_and_mean_an_object_of_their_picture():
    samples = data(expressions=10)
    for image, group in groupby(samples, lambda sample: sample.image_id):
        texts = [sample.query.expression for sample in group]
        assert len(set(texts)) >= 8
        objects = samples.objects(image)
        for sample in (s for s in samples if s.image_id == image):
            overlaps = [iou(sample.boxes[0], box) for box in objects.boxes]
            assert np.max(overlaps) == 1 and sample.category == objects.categories[int(np.argmax(overlaps))]
    assert len({sample.kind for sample in samples}) >= 8


def test_the_rules_of_a_split_hold_for_its_further_expressions():
    assert {sample.kind for sample in data("test-two-hop", 6)} == {"two-hop"}
    for sample in data("test-small", 6):
        x1, y1, x2, y2 = sample.boxes[0]
        width, height = sample.query.image.size
        assert 0.01 <= (x2 - x1) * (y2 - y1) / (width * height) <= 0.04


def test_as_many_mean_nothing_and_several_as_in_the_first_four():
    few = RefScenes("train", SCENES, image_size=128, name=ANY)
    many = RefScenes("train", SCENES, image_size=128, name=ANY, expressions=8)
    assert [told(many)[8 * scene + i] for scene in range(SCENES) for i in range(4)] == told(few)
    further = [sample for i, sample in enumerate(many) if i % 8 >= 4]
    counts = np.array([len(sample.boxes) for sample in further])
    assert ((counts == 0).mean(), (counts == 1).mean(), (counts > 1).mean()) == pytest.approx(
        (0.25, 0.5, 0.25), abs=0.06
    )
    assert all((sample.kind == "none") == (len(sample.boxes) == 0) for sample in further)
    assert np.mean([s.query.expression in {t for t, *_ in told(few)} for s in further]) < 0.2


def test_they_are_read_back_and_a_damaged_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = told(data(expressions=6))
    further_expressions._further.cache_clear()
    monkeypatch.setattr(further_expressions, "_find", lambda record: pytest.fail("found again"))
    assert told(data(expressions=6)) == before
    paths = sorted(tmp_path.rglob("*.json"))
    assert len(paths) == 2
    for content in ("[", json.dumps([]), json.dumps([[["no targets", "attribute"]]] * 8)):
        further_expressions._further.cache_clear()
        paths[0].write_text(content)
        with pytest.raises(VGGymError, match=rf"cannot read .*{paths[0].name} .*delete it"):
            data(expressions=6)[5]


def test_a_full_disk_warns_and_changes_nothing(tmp_path, monkeypatch):
    before = told(data(expressions=6))
    further_expressions._further.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def refuse(path, content):
        raise CannotWrite(f"cannot write {path}: No space left on device; free some")

    monkeypatch.setattr(further_expressions, "write_json", refuse)
    with pytest.warns(UserWarning, match="continues without the cache"):
        assert told(data(expressions=6)) == before


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("refscenes", {"expressions": 11}, r"expressions=11 must be in \[1, 10\]"),
        ("refscenes", {"expressions": 0}, r"expressions=0 must be in \[1, 10\]"),
        ("refscenes", {"expressions": 8, "compose": "cutouts"}, "compose=cutouts makes scenes of cut-outs"),
    ],
)
def test_wrong_options_name_the_remedy(name, options, complaint):
    with pytest.raises(VGGymError, match=complaint):
        registry.open_dataset(name, "train", scenes=4, **options)
