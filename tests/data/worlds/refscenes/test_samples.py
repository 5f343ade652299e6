"""RefScenes as a data set."""

import io
import pickle
import shutil
from functools import cache

import numpy as np
import pytest
from PIL import Image

from tests.reachable import answers
from vg_gym.data.worlds.refscenes import chunks, records
from vg_gym.data.worlds.refscenes.demands import ANY, NAME, SPLITS
from vg_gym.data.worlds.refscenes.kinds import KINDS, VARIANTS
from vg_gym.data.worlds.refscenes.samples import RefScenes, open_refscenes
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.registry import dataset_spec


@cache
def data(split="test", scenes=16, **options):
    return RefScenes(split, scenes, **options)


def area(sample):
    width, height = sample.query.image.size
    return float((sample.box[2] - sample.box[0]) * (sample.box[3] - sample.box[1])) / width / height


@pytest.mark.parametrize("name", [NAME, ANY])
def test_the_registry_knows_its_splits(name):
    assert dataset_spec(name).splits == tuple(SPLITS)


@pytest.mark.parametrize("name", [NAME, ANY])
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_has_scenes(name, split):
    _, labels = records.draw(records.SceneRecord(split, 1, 0, 128, name))
    counts = sorted(len(targets) for _, _, targets in labels.expressions)
    assert (
        counts == [1] * SPLITS[split].expressions
        if name == NAME
        else counts[:3] == [0, 1, 1] and counts[3] in (2, 3, 4)
    )


def test_samples_agree_with_objects_and_segments():
    for sample in data()[::4]:
        objects, segments = data().objects(sample.image_id), data().segments(sample.image_id)
        row = objects.ann_ids.index(sample.ann_id)
        assert objects.categories[row] == sample.category and np.array_equal(objects.boxes[row], sample.box)
        assert segments.shape == sample.query.image.size[::-1] == sample.query.image.array().shape[:2]
        for number, (x1, y1, x2, y2) in enumerate(objects.boxes.astype(int), start=1):
            rows, columns = np.nonzero(segments == number)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)
    assert data().categories == tuple(sorted(KINDS))


def test_targets_have_the_sizes_of_their_split():
    assert all(0.045 <= area(sample) <= 1 for sample in data())
    assert all(0.01 <= area(sample) <= 0.04 for sample in data("test-small"))
    assert {sample.kind for sample in data("test-two-hop")} == {"two-hop"}


def test_held_out_words_occur_in_their_split_alone():
    held_out = {spec.held_out for spec in KINDS.values()} | {words[-1] for words in VARIANTS.values()}

    def share(split):
        texts = [f" {sample.query.expression} " for sample in data(split)]
        return np.mean([any(f" {word} " in text or f" {word}s " in text for word in held_out) for text in texts])

    assert share("test") == 0 and share("test-new-words") > 0.6


def test_a_scene_read_back_is_the_one_drawn(tmp_path, monkeypatch):
    chunks._drawn.cache_clear()
    chunks._chunk.cache_clear()
    pixels = data()[0].query.image.array()
    file, labels = records.draw(data().record(0))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), pixels)
    assert labels == chunks.labels_of(data().record(0))
    chunks._chunk.cache_clear()
    chunks._drawn.cache_clear()
    monkeypatch.setattr(chunks, "draw", lambda record: pytest.fail("a scene that is in the cache was drawn again"))
    assert np.array_equal(data()[0].query.image.array(), pixels)


def test_a_full_disk_warns_and_changes_nothing(monkeypatch):
    pixels = data()[0].query.image.array()
    chunks._chunk.cache_clear()
    chunks._drawn.cache_clear()

    def refuse(path):
        raise CannotWrite(f"cannot write {path}: No space left on device; free some")

    monkeypatch.setattr(chunks, "make_folder", refuse)
    shutil.rmtree(chunks._path(data().record(0)).parent)
    with pytest.warns(UserWarning, match="continues without the cache"):
        sample = data()[0]
    assert np.array_equal(sample.query.image.array(), pixels)


def test_a_damaged_file_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "cache_place", lambda *names: tmp_path)
    record = data().record(0)
    path = chunks._path(record)
    for content in (b"", b"nonsense", bytes(8), (5).to_bytes(8, "big") + b"[1]  "):
        path.write_bytes(content)
        with pytest.raises(VGGymError, match="delete it, and its scenes are drawn again"):
            chunks._read(path)


def test_splits_and_seeds_share_no_scene():
    boxes = [
        tuple(map(tuple, objects.boxes.tolist()))
        for dataset in (data(), data("val"), data("test", seed=1))
        for objects in map(dataset.objects, {sample.image_id for sample in dataset})
    ]
    assert len(set(boxes)) == len(boxes) == 48


def test_queries_lead_to_no_answer_and_keys_are_opaque():
    for sample in data()[:12]:
        assert not [path for path, _ in answers(sample)]
        copy = pickle.loads(pickle.dumps(sample.query))
        assert np.array_equal(copy.image.array(), sample.query.image.array())
    keys = [sample.query.key for sample in data()]
    assert len(set(keys)) == len(keys)
    assert len({key.split("/")[1][:6] for key in keys}) == data().scenes


def test_indices_and_slices():
    dataset = data()
    assert len(dataset) == 64 and dataset[-1].query.key == dataset[63].query.key == dataset[60:][3].query.key
    with pytest.raises(IndexError, match="out of range"):
        dataset[64]
    assert [sample.sent_id for sample in dataset[:5]] == [20_000_000 * 10 + i for i in (0, 1, 2, 3, 10)]


@pytest.mark.parametrize(
    "split, options, message",
    [
        ("testA", {}, "no split 'testA'"),
        ("test", {"scenes": 0}, "scenes=0"),
        ("test", {"image_size": 64}, "image_size=64"),
        ("test", {"seed": -1}, "seed=-1"),
        ("test", {"level": 2}, "unknown options"),
        ("test", {"root": "data"}, "drawn, not read"),
    ],
)
def test_mistakes_are_named(split, options, message):
    with pytest.raises(VGGymError, match=message):
        open_refscenes(NAME, split, **options)
