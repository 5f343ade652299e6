import io
import json
import pickle
import shutil
import tracemalloc
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stable_baselines3 import PPO

from vg_gym import registry
from vg_gym.agents.rollout import play
from vg_gym.data.parquet import ParquetDataset
from vg_gym.data.parquet_cells import box_of
from vg_gym.data.parquet_files import split_files
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.errors import ImageError, VGGymError
from vg_gym.evaluation.comparison import Comparison

pytestmark = pytest.mark.filterwarnings("ignore:refcocog-umd:UserWarning")


@pytest.fixture(scope="module")
def published(realdata):
    return registry.open_dataset("refcocog-umd", "test", root=str(realdata / "refcocog_mini"))


def by_ref(data):
    refs = {}
    for i in range(len(data)):
        refs.setdefault(data[i].ref_id, []).append(data[i])
    return refs.values()


def lmms_row(samples):
    """As lmms-lab/RefCOCOg: a row for each annotation, its box as left, top, width, height."""
    first, (x1, y1, x2, y2) = samples[0], samples[0].box.tolist()
    path = first.query.image.find()
    return {
        "question_id": str(first.ann_id),
        "image": {"bytes": path.read_bytes(), "path": path.name},
        "question": "Please carefully observe the area circled in the image and come up with a caption for the area.",
        "answer": [s.query.expression for s in samples],
        "segmentation": [0.0],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "iscrowd": 0,
        "file_name": f"{path.stem}_{first.ann_id}.jpg",
    }


def jxu_row(samples):
    """As jxu124/refcocog: no pixels, the box as corners."""
    first = samples[0]
    return {
        "ref_id": first.ref_id, "ann_id": first.ann_id, "image_id": first.image_id, "split": "test",
        "sent_ids": [s.sent_id for s in samples], "bbox": first.box.tolist(), "raw_anns": "{}",
        "captions": [s.query.expression for s in samples],
        "image_path": f"coco/train2014/{first.query.image.find().name}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    """The test split in the layout of lmms-lab, in two files of small row groups."""
    rows = [lmms_row(samples) for samples in by_ref(published)]
    folder = tmp_path_factory.mktemp("RefCOCOg") / "data"
    folder.mkdir()
    half = len(rows) // 2
    for number, part in enumerate((rows[:half], rows[half:])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"test-{number:05d}-of-00002.parquet", row_group_size=5)
    return folder.parent


def same(ours, theirs):
    assert ours.query.expression == theirs.query.expression
    np.testing.assert_allclose(ours.box, theirs.box, atol=1e-3)
    assert ours.query.image.size == theirs.query.image.size and ours.ann_id == theirs.ann_id
    assert (ours.query.image.array() == theirs.query.image.array()).all()


def in_order_of_refs(data):
    return [sample for samples in by_ref(data) for sample in samples]


def test_a_copy_in_the_layout_of_lmms_lab_is_the_data_set(published, folder):
    ours = registry.open_dataset(f"hub:{folder}", "test")
    theirs = in_order_of_refs(published)
    assert len(ours) == len(theirs) == 99
    for i in range(0, 99, 7):
        same(ours[i], theirs[i])
    images = {s.image_id for s in theirs}
    assert (
        len({ours[i].image_id for i in range(99)}) == len({ours[i].query.image.key for i in range(99)}) == len(images)
    )
    assert len({ours[i].query.key for i in range(99)}) == 99 and ours.categories == ("object",)
    found = ours.objects(ours[0].image_id)
    assert any(np.allclose(box, ours[0].box) for box in found.boxes)
    assert [s.query.key for s in ours[2:4]] == [ours[2].query.key, ours[3].query.key] and ours[-1].split == "test"


def test_a_copy_without_pixels_finds_them_under_root(published, realdata, tmp_path):
    table = pa.Table.from_pylist([jxu_row(samples) for samples in by_ref(published)])
    pq.write_table(table, tmp_path / "test.parquet")
    ours = registry.open_dataset(f"hub:{tmp_path}", "test", root=str(realdata / "refcocog_mini"))
    theirs = in_order_of_refs(published)
    for i in range(0, 99, 11):
        same(ours[i], theirs[i])
        assert (ours[i].sent_id, ours[i].ref_id, ours[i].image_id) == (
            theirs[i].sent_id, theirs[i].ref_id, theirs[i].image_id,
        )  # fmt: skip
    with pytest.raises(VGGymError, match="names of images alone: give root="):
        registry.open_dataset(f"hub:{tmp_path}", "test")


def test_the_results_are_those_of_the_published_layout(folder, published, realdata, tmp_path):
    options = {"clip": "none", "options": {"constant": {"box": [0, 0, 0.5, 1]}}}
    ours = Comparison(["center"], str(tmp_path / "a"), f"hub:{folder}", **options).run()
    root = str(realdata / "refcocog_mini")
    theirs = Comparison(["center"], str(tmp_path / "b"), "refcocog-umd", root=root, **options).run()
    for a, b in zip(ours, theirs, strict=True):
        assert a["method"] == b["method"] and a["n"] == b["n"]
        assert a["mean_iou"] == pytest.approx(b["mean_iou"], abs=1e-6) and a["acc@0.5"] == b["acc@0.5"]


def test_images_stay_encoded_until_they_are_asked_for(folder):
    tracemalloc.start()
    data = registry.open_dataset(f"hub:{folder}", "test")
    _ = len(data), data.categories
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 20_000_000 and not data._images._groups
    image = data[50].query.image
    again = pickle.loads(pickle.dumps(image))  # as it goes to another process
    assert len(pickle.dumps(image)) < 2_000 and (again.array() == image.array()).all()


def test_columns_are_no_python_objects(tmp_path):
    """A few bytes a row beside what Arrow holds, however many expressions a row has: less than a text would take."""
    count = 40_000
    table = {
        "image_path": [f"{i // 10}.jpg" for i in range(count)],
        "captions": [[f"the thing {i}", " ", "it"][: 1 + i % 3] for i in range(count)],
        "bbox": [[1.0, 2.0, 3.0 + i % 5, 4.0] for i in range(count)],
    }
    pq.write_table(pa.table(table), tmp_path / "test.parquet")
    tracemalloc.start()
    layout = {"file_name": "image_path", "expressions": "captions", "box": "bbox", "box_format": "xyxy"}
    data = ParquetDataset("many", "test", tmp_path, root=tmp_path, **layout)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 40 * count and data.categories == ("object",)
    asked = [text for texts in table["captions"] for text in texts if text.strip()]
    assert len(data) == len(asked)
    (tmp_path / "images").mkdir()
    for name in "01":
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.jpg")
    assert [data[i].query.expression for i in range(13)] == asked[:13] and data[12].image_id == 0


def test_an_agent_s_environment_plays_it(folder, tiny_clip):
    env = GroundingEnv(dataset=f"hub:{folder}", split="test", clip=tiny_clip, reward="iou")
    _, info = env.reset(seed=0)
    assert info["dataset"].startswith("hub:") and 0 <= info["iou"] <= 1


def test_an_agent_trained_on_a_copy_is_that_of_the_published_layout(published, realdata, tiny_clip, tmp_path):
    """A row for each expression, so that the order is the same: PPO's weights and its boxes are equal."""
    rows = [lmms_row([published[i]]) for i in range(len(published))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet", row_group_size=20)
    sources = {"dataset": f"hub:{tmp_path}"}, {"dataset": "refcocog-umd", "root": str(realdata / "refcocog_mini")}
    weights, boxes = zip(*(learned(source, tiny_clip) for source in sources), strict=True)
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(*boxes, atol=1e-5)


def learned(source, clip):
    """Weights of a short PPO on a source, and the boxes of its policy in the first 20 episodes."""
    env = GroundingEnv(**source, split="test", clip=clip, reward="iou", cache=False)
    model = PPO("MultiInputPolicy", env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    before = [p.detach().numpy().copy() for p in model.policy.parameters()]
    model.learn(64)
    after = [p.detach().numpy() for p in model.policy.parameters()]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
    episodes = play(env.engine, lambda seen: model.predict(seen, deterministic=True)[0], range(20))
    return after, np.stack([episode.trajectory[-1] for episode in episodes])


def test_the_split_behind_the_colon_stands_for_test(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    for file in (tmp_path / "copy" / "data").iterdir():
        file.rename(file.with_name(file.name.replace("test", "testA")))
    data = registry.open_dataset(f"hub:{tmp_path / 'copy'}:testA", "test")
    assert data.split == "testA" and len(data) == 99
    with pytest.raises(VGGymError, match="has no split 'train'; it has testA"):
        registry.open_dataset(f"hub:{tmp_path / 'copy'}:testA", "train")


def test_columns_of_another_layout_are_named(published, tmp_path):
    rows = []
    for samples in by_ref(published):
        scale = np.tile(samples[0].query.image.size, 2)
        row = {"picture": samples[0].query.image.find().read_bytes(), "where": (samples[0].box / scale).tolist()}
        rows += [{**row, "phrase": s.query.expression, "what": "thing"} for s in samples]
    (tmp_path / "val").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:6]), tmp_path / "val" / "0000.parquet")
    with pytest.raises(VGGymError, match="picture, where, phrase, what, which are of no known layout; say which"):
        registry.open_dataset(f"hub:{tmp_path}", "val")
    columns = {"image": "picture", "box": "where", "expressions": "phrase", "category": "what", "frame": "normalised"}
    data = registry.open_dataset(f"hub:{tmp_path}", "val", box_format="xyxy", **columns)
    same_box = in_order_of_refs(published)[3]
    assert data[3].query.expression == same_box.query.expression and data.categories == ("thing",)
    np.testing.assert_allclose(data[3].box, same_box.box, atol=1e-2)
    with pytest.raises(VGGymError, match="unknown box format 'yxyx'"):
        registry.open_dataset(f"hub:{tmp_path}", "val", box_format="yxyx", **columns)
    with pytest.raises(VGGymError, match="unknown column of .* 'pictur': did you mean 'picture'"):
        registry.open_dataset(f"hub:{tmp_path}", "val", box_format="xyxy", **{**columns, "image": "pictur"})
    with pytest.raises(VGGymError, match="unknown data set option 'images'"):
        registry.open_dataset(f"hub:{tmp_path}", "val", images="picture")
    pixels = {**columns, "frame": "pixels", "box_format": "xywh"}
    data = ParquetDataset("mine", "val", tmp_path, **{**pixels, "frame": "0-1000"})
    assert json.dumps(data[0].box.tolist())


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(VGGymError, match="no data set 'org/name' from the hub.*give a folder of its parquet files"):
        registry.open_dataset("hub:org/name", "test")
    for name in ("hub:", "hub:/no/where", "hub:name"):
        with pytest.raises(VGGymError, match="is neither a folder nor a data set on the hub"):
            registry.open_dataset(name, "test")
    with pytest.raises(VGGymError, match="no parquet files in"):
        registry.open_dataset(f"hub:{tmp_path}", "test")
    with pytest.raises(VGGymError, match="unknown data set 'huub'"):
        registry.open_dataset("huub:x", "test")


# Files of a split


def plain(**changes):
    """Columns of one row in the layout of lmms-lab."""
    return {
        "question_id": ["1"], "image": [{"bytes": encoded(90), "path": "x.png"}], "answer": [["a dog"]],
        "bbox": [[10.0, 10.0, 50.0, 50.0]], "file_name": ["x.png"], **changes,
    }  # fmt: skip


def encoded(gray, orientation=1, kind="PNG", size=(100, 100)):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", size, gray).save(file, kind, exif=exif)
    return file.getvalue()


def write(path, columns=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(plain() if columns is None else columns), path)


@pytest.mark.parametrize(
    "names",
    [
        ["test-00000-of-00002", "test-00001-of-00002"],
        ["data/test-00000-of-00001-0123456789abcdef"],
        ["test/0000", "test/0001"],
        ["test/part-0", "test/part-1", "train/part-0"],
        ["test-1", "test-2", "test-unseen-1"],
        ["test_2014", "test_2017"],
        ["test/test-00000-of-00001", "train/train-00000-of-00001"],
        ["test", ".cache/test"],
        ["testA", "test"],
    ],
)
def test_files_of_a_split_are_told_by_their_names(tmp_path, names):
    for name in names:
        write(tmp_path / f"{name}.parquet")
    names = [name for name in names if not name.startswith((".", "train", "test-u", "testA"))]
    assert split_files(tmp_path, "test") == [tmp_path / f"{name}.parquet" for name in names]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["test-00000-of-00002"], "lacks part 1 of a split in 2 parts"),
        (["test-00001-of-00002"], "lacks part 0 of a split in 2 parts"),
        (["test/0000", "test/0002"], "lacks part 1 of a split in 3 parts"),
        (["test-00000-of-00002", "test-00001-of-00003"], "different uploads"),
        (["test-00000-of-00001", "test-00000-of-00001-0123456789abcdef"], "hold the same part"),
        (["test", "test-00000-of-00001"], "hold the same part"),
        (["a/test", "b/test"], r"several configurations with a split 'test': a, b; .*configuration=b"),
        (["a/test-00000-of-00001", "b/test-00000-of-00001", "b/train-00000-of-00001"], "configurations .*: a, b;"),
        (["a/test/0000", "b/test/0000"], "configurations .*: a, b;"),
        (["test", "b/test"], r"configurations .*: \(none\), b;"),
    ],
)
def test_files_that_are_not_one_whole_split_are_refused(tmp_path, names, message):
    for name in names:
        write(tmp_path / f"{name}.parquet")
    with pytest.raises(VGGymError, match=message):
        split_files(tmp_path, "test")


def test_one_of_several_configurations(tmp_path):
    write(tmp_path / "a" / "test.parquet")
    write(tmp_path / "b" / "test.parquet", plain(answer=[["a cat"]]))
    write(tmp_path / "b" / "train.parquet")
    assert registry.open_dataset(f"hub:{tmp_path}", "test", configuration="b")[0].query.expression == "a cat"
    assert len(registry.open_dataset(f"hub:{tmp_path / 'a'}", "test")) == 1
    with pytest.raises(VGGymError, match="no configuration 'c'; it has a, b"):
        registry.open_dataset(f"hub:{tmp_path}", "test", configuration="c")
    with pytest.warns(UserWarning, match="the configurations a, b; the split 'train' is of b"):
        registry.open_dataset(f"hub:{tmp_path}", "train")


def test_shards_that_are_empty_damaged_or_of_other_columns(tmp_path):
    write(tmp_path / "test-00000-of-00002.parquet")
    second = tmp_path / "test-00001-of-00002.parquet"
    write(second, pa.table(plain()).slice(1))
    assert len(registry.open_dataset(f"hub:{tmp_path}", "test")) == 1
    write(second, {**plain(), "extra": [1]})
    with pytest.raises(VGGymError, match="different columns: only one has extra"):
        registry.open_dataset(f"hub:{tmp_path}", "test")
    write(second, plain(bbox=["[10, 10, 50, 50]"]))
    with pytest.raises(VGGymError, match="do not go together"):
        registry.open_dataset(f"hub:{tmp_path}", "test")
    second.write_bytes(b"")
    with pytest.raises(VGGymError, match=r"cannot read .*test-00001-of-00002\.parquet .*; fetch this file again"):
        registry.open_dataset(f"hub:{tmp_path}", "test")


# Cells


def opened_rows(folder, columns, **options):
    write(folder / "test.parquet", columns)
    data = registry.open_dataset(f"hub:{folder}", "test", **options)
    return [data[i] for i in range(len(data))]


@pytest.mark.parametrize(
    "box",
    [
        [10, 10, 50, 50], [[10.0, 10.0, 50.0, 50.0]], "[10, 10, 50, 50]",
        [Decimal(10), Decimal(10), Decimal(50), Decimal(50)], ["10", "10", "50", "50.0"],
    ],
)  # fmt: skip
def test_boxes_of_every_kind_are_read(tmp_path, box):
    for columns in (plain(bbox=[box]), pa.table(plain(bbox=[box])).to_pydict()):
        (sample,) = opened_rows(tmp_path, columns)
        assert sample.box.tolist() == [10, 10, 60, 60]
    assert box_of(box) == [10, 10, 50, 50]


@pytest.mark.parametrize(
    "box",
    [
        None, [1.0, 2.0, 3.0], [], [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, None, 4.0], [1.0, 2.0, float("nan"), 4.0],
        [1.0, 2.0, float("inf"), 4.0], [True, False, True, True], "the left", "[1, 2, 3]",
        {"x": 1, "y": 2, "w": 3, "h": 4},
        [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], [["a", "b", "c", "d"]],
    ],
)  # fmt: skip
def test_a_row_whose_box_is_none_is_left_out(tmp_path, box):
    two = {key: values * 2 for key, values in plain().items()}
    column = pa.array([box, None])
    with pytest.raises(VGGymError, match=r"none of 2 rows has text in 'answer' and four finite numbers in 'bbox'"):
        with pytest.warns(UserWarning, match="left out 2 rows with no box of four finite numbers, the first is row 0"):
            opened_rows(tmp_path, {**two, "bbox": column})
    if isinstance(box, list) and box and isinstance(box[0], float):
        with pytest.warns(UserWarning, match="left out 1 rows with no box"):
            (sample,) = opened_rows(
                tmp_path, {**two, "bbox": [box, [10.0, 10.0, 50.0, 50.0]], "question_id": ["7", "8"]}
            )
        assert sample.box.tolist() == [10, 10, 60, 60] and sample.ann_id == 8


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 4), pa.large_list(pa.int64()), pa.list_(pa.float16())])
def test_arrow_s_lists_of_numbers(kind):
    column = pa.array([[1, 2, 3, 4], None, [5, 6, 7, 8]], pa.list_(pa.int64())).cast(kind)
    assert [box_of(value) for value in column.to_pylist()] == [[1, 2, 3, 4], None, [5, 6, 7, 8]]


@pytest.mark.parametrize(
    "box", [[10, 10, 100, 50], [60, 10, -20, 20], [-5, 10, 50, 50], [200, 10, 5, 5], [10, 10, 0, 5]]
)
def test_a_box_that_leaves_its_image_or_is_empty_is_an_error(tmp_path, box):
    with pytest.raises(VGGymError, match="is not inside its image of"):
        opened_rows(tmp_path, plain(bbox=[box]))
    with pytest.raises(VGGymError, match=r"is less than a pixel in its image of .*dataset_options.frame"):
        opened_rows(tmp_path, plain(bbox=[[0.1, 0.1, 0.5, 0.5]]))
    (sample,) = opened_rows(tmp_path, plain(bbox=[[10, 10, 90.5, 50]]))
    assert sample.box.tolist() == [10, 10, 100, 60]


@pytest.mark.parametrize(
    ("answer", "texts"),
    [
        ("a dog", ["a dog"]), ([" a dog", None, "", "the dog "], ["a dog", "the dog"]), ("[a dog", ["[a dog"]),
        ('["a dog", "it"]', ["a dog", "it"]), ("['a dog', \"dog's\"]", ["a dog", "dog's"]), (b"caf\xc3\xa9", ["café"]),
        ([{"sent": "a dog", "raw": "A dog!"}], ["a dog"]), ([{"sent": None, "raw": "A dog"}], ["A dog"]),
        ({"sent": ["a dog", "it"]}, ["a dog", "it"]), ('["a dog", null]', ["a dog"]),
        ("['a dog' 'it']", ["a dog", "it"]),
        ("('a dog', 'it')", ["a dog", "it"]), ("('a dog',)", ["a dog"]), ('[ "a dog" ]', ["a dog"]),
        ('[{"sent": "a dog"}]', ["a dog"]), ("['a man\\'s dog', \"it's\"]", ["a man's dog", "it's"]),
        ('["a \\"dog\\" \\"it\\""]', ['a "dog" "it"']), ("('dog') left", ["('dog') left"]),
    ],
)  # fmt: skip
def test_expressions_of_every_kind(tmp_path, answer, texts):
    assert [s.query.expression for s in opened_rows(tmp_path, plain(answer=[answer]))] == texts


@pytest.mark.parametrize("answer", [None, [], [None], "  ", 7, [{"text": "a dog"}], "['a dog', x]"])
def test_a_row_without_words_is_left_out(tmp_path, answer):
    with pytest.raises(VGGymError, match="none of 1 rows has text"), pytest.warns(UserWarning, match="with no text"):
        opened_rows(tmp_path, plain(answer=[answer]))


@pytest.mark.parametrize(
    ("ids", "numbers"),
    [
        (["17", "18"], [17, 18]), ([17.0, 18.0], [17, 18]), (["refcoco_17", "refcoco_18"], [0, 1]),
        (["1", "x"], [0, 1]), (["x", "x"], [0, 0]), ([None, "0"], [0, 1]), (["7", "07"], [0, 1]), ([0.5, 1.0], [0, 1]),
        ([None, None], [0, 1]), ([True, False], [0, 1]), (["9" * 20, "1"], [0, 1]),
    ],
)  # fmt: skip
def test_ids_are_numbers_or_are_numbered(tmp_path, ids, numbers):
    two = {key: values * 2 for key, values in plain().items()}
    assert [s.ann_id for s in opened_rows(tmp_path, {**two, "question_id": ids})] == numbers


@pytest.mark.parametrize(
    ("ids", "numbers"), [([[5, 6, 7], [8]], [5, 7, 8]), ([[5, 6], [8]], [0, 1, 2]), ([[5, 6, 7], [7]], [0, 1, 2]),
                         ([["a", "b", "c"], ["d"]], [0, 1, 2]), ([None, [8]], [0, 1, 2])],
)  # fmt: skip
def test_ids_of_expressions_belong_to_them_and_differ(tmp_path, ids, numbers):
    columns = {**{key: values * 2 for key, values in plain().items()}, "answer": [["a", "", "b"], ["c"]], "sents": ids}
    samples = opened_rows(tmp_path, columns, sent_ids="sents")
    assert [s.sent_id for s in samples] == numbers and [s.query.expression for s in samples] == ["a", "b", "c"]


# Pictures


@pytest.mark.parametrize(
    "image", [None, {"bytes": None, "path": "x.png"}, b"", "x.png", 7, [], {"bytes": b"x", "path": ""}]
)
def test_a_row_without_a_picture_is_an_error_of_that_row(tmp_path, image):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if image is None else None
    (sample,) = opened_rows(tmp_path, plain(image=pa.array([image], kind)))
    assert isinstance(sample.query.image.key, str)
    with pytest.raises(ImageError, match=r"has no image in 'image'|damaged or unsupported image"):
        sample.query.image.array()


@pytest.mark.parametrize(
    "wrap", [bytes, lambda data: [{"bytes": data, "path": None}], lambda data: pa.scalar(data, pa.large_binary())]
)
def test_pictures_of_every_kind_of_column(tmp_path, wrap):
    (sample,) = opened_rows(tmp_path, plain(image=pa.array([wrap(encoded(90))])))
    assert sample.query.image.array().shape == (100, 100, 3) and sample.query.image.array()[0, 0, 0] == 90


def test_pictures_are_told_apart_by_path_and_content(tmp_path):
    two = {key: values * 2 for key, values in plain().items()}
    paths = ["train/1/image.png", "train/2/image.png"]
    one, other = opened_rows(tmp_path / "a", {**two, "file_name": paths})
    assert one.image_id != other.image_id and one.query.image.key != other.query.image.key
    images = [{"bytes": encoded(gray, kind="BMP"), "path": "x"} for gray in (60, 200)]
    keys = [opened_rows(tmp_path / str(i), plain(image=[image]))[0].query.image.key for i, image in enumerate(images)]
    assert len(set(keys)) == 2 and keys[0].endswith("@x.png")
    again = opened_rows(tmp_path / "copy", {**two, "image": images})
    assert [sample.query.image.key for sample in again] == keys


def test_names_alone_are_looked_up_with_their_folders(tmp_path):
    for folder, gray in (("1", 60), ("2", 200)):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / "image.png").write_bytes(encoded(gray))
    columns = {
        "name": ["1/image.png", "2/image.png", "3/image.png"],
        "text": ["a", "b", "c"],
        "box": [[1, 1, 9, 9]] * 3,
    }
    options = {"file_name": "name", "expressions": "text", "box": "box", "box_format": "xyxy"}
    one, two, three = opened_rows(tmp_path / "rows", columns, root=str(tmp_path), **options)
    assert [int(sample.query.image.array()[0, 0, 0]) for sample in (one, two)] == [60, 200]
    (tmp_path / "images" / "image.png").write_bytes(encoded(7))
    with pytest.raises(ImageError, match=r"no image image\.png"):
        three.query.image.array()
    assert len({sample.query.image.key for sample in (one, two, three)}) == 3


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_the_layout_or_an_option_says_how_pictures_are_turned(tmp_path, orientation):
    columns = plain(image=[{"bytes": encoded(90, orientation, "JPEG", (100, 80)), "path": None}])
    (stored,) = opened_rows(tmp_path, columns)
    (upright,) = opened_rows(tmp_path, columns, orientation="upright")
    assert stored.query.image.array().shape == (80, 100, 3) and stored.query.image.size == (100, 80)
    size = (100, 80) if orientation < 5 else (80, 100)
    assert upright.query.image.size == size == upright.query.image.array().shape[1::-1]
    assert stored.query.image.key != upright.query.image.key
    names = {"image": "picture", "expressions": "answer", "box": "bbox", "box_format": "xywh"}
    unknown_layout = {"picture": columns["image"], "answer": columns["answer"], "bbox": columns["bbox"]}
    (sample,) = opened_rows(tmp_path, unknown_layout, **names)
    with pytest.raises(ImageError, match=f"EXIF orientation {orientation}, and nothing says"):
        sample.query.image.array()
    with pytest.raises(VGGymError, match="unknown orientation 'sideways'"):
        opened_rows(tmp_path, columns, orientation="sideways")
