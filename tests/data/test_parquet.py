import json
import pickle
import shutil
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stable_baselines3 import PPO

from vg_gym import registry
from vg_gym.agents.rollout import play
from vg_gym.data.parquet import LAYOUTS, ParquetDataset
from vg_gym.envs.grounding import GroundingEnv
from vg_gym.errors import VGGymError
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
    options = {"clip": "none", "train_split": "test"}
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
        with pytest.raises(VGGymError, match="is no folder, and no data set on the hub"):
            registry.open_dataset(name, "test")
    with pytest.raises(VGGymError, match="no parquet files in"):
        registry.open_dataset(f"hub:{tmp_path}", "test")
    with pytest.raises(VGGymError, match="unknown data set 'huub'"):
        registry.open_dataset("huub:x", "test")
    assert set(LAYOUTS) == {"lmms-lab", "jxu124"}
