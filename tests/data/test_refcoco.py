import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.layouts import SMALL_COPY, compressed, make_instances, make_refs, real_data, write_layout
from vg_gym.data.refcoco import PUBLISHED_SETS, open_refcoco
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset
from vg_gym.types import GroundingDataset

pytestmark = SMALL_COPY


def test_every_sample_of_a_split(layout):
    root, instances, refs = layout
    annotations = {a["id"]: a for a in instances["annotations"]}
    names = {c["id"]: c["name"] for c in instances["categories"]}
    for split in ("train", "val", "test"):
        data = open_dataset("refcocog-umd", split, root=root)
        assert isinstance(data, GroundingDataset) and (data.name, data.split) == ("refcocog-umd", split)
        expected = [(ref, s) for ref in refs if ref["split"] == split for s in ref["sentences"]]
        assert len(data) == len(expected) == 12
        for sample, (ref, sentence) in zip(data, expected, strict=True):
            annotation = annotations[ref["ann_id"]]
            x, y, w, h = annotation["bbox"]
            assert sample.query.expression == sentence["sent"]
            assert sample.box.dtype == np.float32 and sample.box.tolist() == [x, y, x + w, y + h]
            assert sample.category == names[annotation["category_id"]]
            ids = (sample.ref_id, sample.ann_id, sample.sent_id, sample.image_id, sample.split)
            assert ids == (ref["ref_id"], ref["ann_id"], sentence["sent_id"], ref["image_id"], split)
            assert type(sample.image_id) is int
            image = instances["images"][ref["image_id"] - 1]
            assert sample.query.image.size == (image["width"], image["height"])
            pixels = sample.query.image.array()
            assert pixels.shape == (image["height"], image["width"], 3)
            assert abs(int(pixels[0, 0, 0]) - image["id"]) <= 3
        assert len({sample.query.key for sample in data}) == len(data)
        assert data[-1].sent_id == data[len(data) - 1].sent_id and len(data[2:5]) == 3
        with pytest.raises(IndexError):
            data[len(data)]


def test_categories_and_objects(layout):
    root, instances, _ = layout
    data = open_refcoco("refcocog-umd", "train", root)
    assert data.categories == ("cat", "dog", "zebra")
    objects = data.objects(3)
    assert objects.ann_ids == (30, 31, 32) and objects.categories == ("zebra", "cat", "dog")
    assert objects.boxes.dtype == np.float32 and objects.boxes[1].tolist() == [21, 5, 31, 15]
    for image_id in (0, 7, 10**12):
        with pytest.raises(VGGymError, match=f"has no image {image_id};"):
            data.objects(image_id)


def test_masks_of_all_three_codes(layout):
    data = open_refcoco("refcocog-umd", "train", layout[0])
    for ann_id in (20, 21, 22, 50, 51, 52):
        mask = data.segmentation(ann_id)
        width, height = {2: (50, 60), 5: (80, 30)}[ann_id // 10]
        expected = np.zeros((height, width), bool)
        expected[5:15, 20:30] = True
        np.testing.assert_array_equal(mask, expected)
        assert mask.dtype == bool
    with pytest.raises(VGGymError, match="has no annotation 99"):
        data.segmentation(99)


@pytest.mark.parametrize(
    "code",
    [
        [],
        None,
        "x",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        {"size": [9, 9], "counts": [81]},
        {"size": [48, 64], "counts": [5, 5]},
        {"size": [48, 64], "counts": [-1, 48 * 64 + 1]},
        {"size": [48, 64], "counts": compressed(np.ones((90, 90)))["counts"]},
        {"size": [48, 64]},
        {},
    ],
)
def test_an_unusable_segmentation_names_the_annotation(tmp_path, code):
    instances = make_instances([(64, 48)])
    instances["annotations"][0]["segmentation"] = code
    data = open_refcoco("refcocog-umd", "train", write_layout(tmp_path, instances, make_refs(instances, ["train"])))
    with pytest.raises(VGGymError, match="annotation 10 has no usable segmentation: "):
        data.segmentation(10)


def test_boxes_are_cut_to_the_image_and_empty_ones_left_out(tmp_path):
    instances = make_instances([(64, 48)])
    boxes = [[-5, -5, 20, 100], [30, 10, 0, 5], [70, 10, 10, 10]]
    for annotation, box in zip(instances["annotations"], boxes, strict=True):
        annotation["bbox"] = box
    root = write_layout(tmp_path, instances, make_refs(instances, ["train"]))
    with pytest.warns(UserWarning, match="left out 4 expressions with an empty box"):
        data = open_refcoco("refcocog-umd", "train", root)
    assert [sample.box.tolist() for sample in data] == [[0, 0, 15, 48]] * 2
    assert data.objects(1).ann_ids == (10,)


def test_expressions_without_text_are_left_out_and_raw_text_serves(tmp_path):
    instances = make_instances([(64, 48)])
    refs = make_refs(instances, ["train"])
    refs[0]["sentences"][0].update(sent=" ", raw="")
    refs[1]["sentences"][0].update(sent="", raw="The raw one")
    root = write_layout(tmp_path, instances, refs)
    with pytest.warns(UserWarning, match="left out 1 expressions with no text"):
        data = open_refcoco("refcocog-umd", "train", root)
    assert len(data) == 5 and "The raw one" in [sample.query.expression for sample in data]


def test_crowds_are_no_objects(tmp_path):
    instances = make_instances([(64, 48)])
    instances["annotations"][1]["iscrowd"] = 1
    data = open_refcoco("refcocog-umd", "train", write_layout(tmp_path, instances, make_refs(instances, ["train"])))
    assert data.objects(1).ann_ids == (10, 12)


def test_image_sizes_and_names_may_be_missing(tmp_path):
    instances = make_instances([(64, 48)])
    root = write_layout(tmp_path, instances, make_refs(instances, ["train"]))
    for key in ("width", "height", "file_name"):
        del instances["images"][0][key]
    (root / "annotations" / "instances.json").write_text(json.dumps(instances))
    data = open_refcoco("refcocog-umd", "train", root)
    assert data[0].query.image.size == (64, 48) and data[0].query.image.array().shape == (48, 64, 3)


@pytest.mark.parametrize("images", ["images", "images/train2014", "images/mscoco/images/train2014", "train2014"])
@pytest.mark.parametrize("annotations", ["annotations", "."])
@pytest.mark.parametrize("below", ["", "refcocog"])
def test_places_of_the_layout(tmp_path, monkeypatch, images, annotations, below):
    instances = make_instances([(64, 48)])
    write_layout(tmp_path / below, instances, make_refs(instances, ["train"]), "refs(umd).p", annotations, images)
    assert open_refcoco("refcocog-umd", "train", tmp_path)[0].query.image.array().shape == (48, 64, 3)
    monkeypatch.setenv("VG_GYM_DATA", str(tmp_path))
    assert len(open_refcoco("refcocog-umd", "train")) == 6


def test_images_beside_the_data_set_as_the_refer_toolkit_has_them(tmp_path):
    instances = make_instances([(64, 48)])
    write_layout(tmp_path / "refcocog", instances, make_refs(instances, ["train"]), annotations=".")
    (tmp_path / "images" / "mscoco" / "images").mkdir(parents=True)
    (tmp_path / "refcocog" / "images" / "train2014").rename(tmp_path / "images/mscoco/images/train2014")
    for root in (tmp_path, tmp_path / "refcocog"):
        assert open_refcoco("refcocog-umd", "train", root)[0].query.image.array().shape == (48, 64, 3)


@pytest.mark.parametrize("name", PUBLISHED_SETS)
def test_every_name_reads_its_own_file(tmp_path, name):
    instances = make_instances([(64, 48), (64, 48)])
    splits = list(PUBLISHED_SETS[name].splits)
    for other in PUBLISHED_SETS.values():
        refs = make_refs(instances, list(other.splits)) + make_refs(instances, list(other.splits)[1:])
        for number, ref in enumerate(refs):
            for k, sentence in enumerate(ref["sentences"]):
                sentence["sent_id"] = 2 * number + k
            ref["sentences"][0]["sent"] = f"{other.folder} {other.refs}"
        write_layout(tmp_path / other.folder, instances, refs, other.refs, ".")
    data = open_refcoco(name, splits[1], tmp_path)
    assert data[0].query.expression == f"{PUBLISHED_SETS[name].folder} {PUBLISHED_SETS[name].refs}"
    with pytest.raises(VGGymError, match=f"has no split 'testC'.* it has {splits[0]}, {splits[1]}"):
        open_refcoco(name, "testC", tmp_path)


def test_refcoco_is_not_taken_for_refcoco_plus(tmp_path):
    instances = make_instances([(64, 48)])
    write_layout(tmp_path / "refcoco+", instances, make_refs(instances, ["val"]), "refs(unc).p", ".")
    assert len(open_refcoco("refcoco+-unc", "val", tmp_path / "refcoco+")) == 6
    with pytest.raises(VGGymError, match="no refs.unc..p"):
        open_refcoco("refcoco-unc", "val", tmp_path / "refcoco+")
    with pytest.raises(VGGymError, match="has no split 'test'.* it has train, val, testA, testB"):
        open_refcoco("refcoco+-unc", "test", tmp_path)


def test_errors_name_the_thing_and_the_remedy(layout, tmp_path, monkeypatch):
    root, instances, refs = layout
    monkeypatch.delenv("VG_GYM_DATA", raising=False)
    with pytest.raises(VGGymError, match="give root=DIR or set VG_GYM_DATA, or run `vg-gym download refcocog"):
        open_dataset("refcocog-umd", "val")
    with pytest.raises(VGGymError, match=r"looked in .*nowhere/refcocog/annotations, .*nowhere; correct root="):
        open_dataset("refcocog-umd", "val", root=str(tmp_path / "nowhere"))
    with pytest.raises(VGGymError, match="takes no options, got sede"):
        open_dataset("refcocog-umd", "val", root=root, sede=1)
    (root / "images/train2014/COCO_train2014_000000000001.jpg").unlink()
    with pytest.raises(VGGymError, match=r"000001\.jpg; looked in .*train2014, .*mscoco.*; download"):
        [sample for sample in open_refcoco("refcocog-umd", "val", root) if sample.image_id == 1][0].query.image.array()
    write_layout(root, instances, [ref for ref in refs if ref["split"] == "val"])
    with pytest.raises(VGGymError, match=r"has no ref of split 'train', only of val; get the complete file"):
        open_refcoco("refcocog-umd", "train", root)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("instances.json", b'{"images": [', r"instances\.json is not valid JSON"),
        ("instances.json", b"[1, 2]", r"instances\.json is not a COCO annotation file"),
        ("instances.json", b'{"images": [{}], "annotations": [], "categories": []}', "KeyError.'id'"),
        ("refs(umd).p", b"garbage", r"refs\(umd\)\.p is not a readable pickle"),
        ("refs(umd).p", pickle.dumps([{"ref_id": 1}]), r"refs\(umd\)\.p does not hold a list of refs"),
        ("refs(umd).p", pickle.dumps({"a": 1}), r"refs\(umd\)\.p does not hold a list of refs"),
        ("refs(umd).p", b"cos\nsystem\n(S'true'\ntR.", r"refs\(umd\)\.p: it names os\.system"),
    ],
)
def test_damaged_files_are_named(layout, file, content, message):
    (layout[0] / "annotations" / file).write_bytes(content)
    with pytest.raises(VGGymError, match=message):
        open_refcoco("refcocog-umd", "train", layout[0])


def test_files_that_do_not_belong_together(tmp_path):
    instances = make_instances([(64, 48), (64, 48)])
    refs = make_refs(instances, ["train"])
    refs[2]["ann_id"] = 12345
    root = write_layout(tmp_path, instances, refs)
    with pytest.raises(VGGymError, match="ref 2 is annotation 12345 of image 1, which .* lacks; take both files"):
        open_refcoco("refcocog-umd", "train", root)
    refs[2].update(ann_id=20, image_id=1)  # an annotation of image 2
    with pytest.raises(VGGymError, match="ref 2 is annotation 20 of image 1"):
        open_refcoco("refcocog-umd", "train", write_layout(tmp_path, instances, refs))


def test_a_file_name_cannot_lead_out_of_the_image_folders(tmp_path):
    instances = make_instances([(64, 48)])
    root = write_layout(tmp_path / "data", instances, make_refs(instances, ["train"]))
    instances["images"][0]["file_name"] = "../../../secret.jpg"
    (root / "annotations" / "instances.json").write_text(json.dumps(instances))
    shutil.copy(root / "images/train2014/COCO_train2014_000000000001.jpg", tmp_path / "secret.jpg")
    with pytest.raises(VGGymError, match="no image secret.jpg"):
        open_refcoco("refcocog-umd", "train", root)[0].query.image.array()


@pytest.mark.filterwarnings("default:.*this copy is partial")
def test_a_partial_copy_is_a_warning_with_both_numbers(layout):
    with pytest.warns(UserWarning, match=r"has 12 expressions on 2 images; published are 4,896 expressions on 1,300"):
        open_refcoco("refcocog-umd", "val", layout[0])


# The index


def test_image_keys_tell_data_sets_apart_and_survive_a_move(layout, tmp_path):
    key = open_refcoco("refcocog-umd", "train", layout[0])[0].query.image.key
    shutil.copytree(layout[0], tmp_path / "moved")
    assert open_refcoco("refcocog-umd", "train", tmp_path / "moved")[0].query.image.key == key
    instances = make_instances([(64, 48)] * 6)
    other = write_layout(tmp_path / "other", instances, make_refs(instances, ["train", "val", "test"]))
    assert open_refcoco("refcocog-umd", "train", other)[0].query.image.key != key


# The real annotations


@pytest.mark.parametrize(("split", "expressions", "images"), [("val", 18, 2), ("test", 99, 6)])
def test_real_mini_set(split, expressions, images):
    root = real_data("refcocog_mini")
    data = open_dataset("refcocog-umd", split, root=root)
    refs = [ref for ref in pickle.loads((root / "annotations/refs(umd).p").read_bytes()) if ref["split"] == split]
    content = json.loads((root / "annotations/instances.json").read_text())
    boxes = {annotation["id"]: annotation["bbox"] for annotation in content["annotations"]}
    expected = [(ref, sentence) for ref in refs for sentence in ref["sentences"]]
    assert len(data) == len(expected) == expressions and len({s.image_id for s in data}) == images
    for sample, (ref, sentence) in zip(data, expected, strict=True):
        x, y, w, h = boxes[ref["ann_id"]]
        np.testing.assert_allclose(sample.box, [x, y, x + w, y + h], atol=1e-2)
        assert sample.query.expression == sentence["sent"] and sample.ref_id == ref["ref_id"]
        height, width, _ = sample.query.image.array().shape
        assert (width, height) == sample.query.image.size
        assert (sample.box[2:] <= (width, height)).all() and (sample.box[2:] > sample.box[:2]).all()
    assert {s.ann_id for s in data} <= {ann for s in data for ann in data.objects(s.image_id).ann_ids}


def test_real_val_annotations_are_complete():
    root = real_data("refcocog_umd_val")
    data = open_dataset("refcocog-umd", "val", root=root)  # a warning about its size would fail the test
    samples = list(data)
    assert len(samples) == 4_896
    assert len({s.ref_id for s in samples}) == 2_573 and len({s.image_id for s in samples}) == 1_300
    assert all(s.query.expression and (s.box[2:] > s.box[:2]).all() for s in samples)
    assert sum(len(data.objects(image).ann_ids) for image in {s.image_id for s in samples}) == 2_573
    with pytest.raises(VGGymError, match="annotation 1161269 has no usable segmentation"):
        data.segmentation(1161269)
    with pytest.raises(VGGymError, match="no image COCO_train2014_000000000309.jpg; looked in"):
        samples[0].query.image.array()


def test_expressions_that_share_an_id_are_named(tmp_path):
    instances = make_instances([(64, 48), (50, 60), (64, 64)])
    refs = make_refs(instances, ["train", "val", "test"])
    here = [ref for ref in refs if ref["split"] == "test"]
    here[1]["sentences"][0]["sent_id"] = here[0]["sentences"][0]["sent_id"]
    root = write_layout(tmp_path, instances, refs)
    message = f"sent_id .* of ref {here[0]['ref_id']} and to one of ref {here[1]['ref_id']}"
    with pytest.raises(VGGymError, match=message):
        open_dataset("refcocog-umd", "test", root)
    open_dataset("refcocog-umd", "val", root)


# Pictures and their boxes


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_refer_to_the_stored_pixels(tmp_path, orientation):
    instances = make_instances([(64, 48)])
    root = write_layout(tmp_path, instances, make_refs(instances, ["val"]))
    pixels, exif = np.zeros((48, 64, 3), np.uint8), Image.Exif()
    pixels[5:15, 20:30], exif[0x0112] = 255, orientation
    path = root / "images/train2014" / instances["images"][0]["file_name"]
    Image.fromarray(pixels).save(path, exif=exif, quality=100)
    sample = open_refcoco("refcocog-umd", "val", root)[0]
    left, top, right, bottom = map(int, sample.box)
    assert sample.query.image.array()[top:bottom, left:right].mean() > 240


def test_images_of_one_name_in_two_folders_are_two(tmp_path):
    instances = make_instances([(64, 48), (64, 48), (64, 48)])
    for image, name in zip(instances["images"], ("a/1.png", "b/1.png", "c/2.png"), strict=True):
        image["file_name"] = name
        (tmp_path / "images/train2014" / name).parent.mkdir(parents=True)
    root = write_layout(tmp_path, instances, make_refs(instances, ["val"]))
    data = open_refcoco("refcocog-umd", "val", root)
    images = {sample.image_id: sample.query.image for sample in data}
    assert [int(images[number].array()[0, 0, 0]) for number in (1, 2, 3)] == [1, 2, 3]
    assert len({image.key for image in images.values()}) == 3
    for name in ("a/1.png", "c/2.png"):  # the last part alone tells the second from all others, the first not
        shutil.move(root / "images/train2014" / name, root / "images/train2014" / name[2:])
    assert int(images[3].array()[0, 0, 0]) == 3
    with pytest.raises(VGGymError, match=r"no image 1\.png"):
        images[1].array()


@pytest.mark.filterwarnings("default:.*left out")
@pytest.mark.parametrize(("targets", "kept"), [([10], 6), ([10, 11], 4), ([-1], 4), ([], 4)])
def test_lists_of_annotations_have_one_target_or_are_left_out(tmp_path, targets, kept):
    instances = make_instances([(64, 48)])
    refs = make_refs(instances, ["val"])
    refs[0].update(ann_id=targets, category_id=[7])
    root = write_layout(tmp_path, instances, refs)
    if kept == 6:
        data = open_refcoco("refcocog-umd", "val", root)
        assert data[0].ann_id == 10 and data[0].box.tolist() == [20, 5, 30, 15]
    else:
        with pytest.warns(UserWarning, match="val: left out 2 expressions with several targets, or none"):
            data = open_refcoco("refcocog-umd", "val", root)
    assert len(data) == kept and {sample.ann_id for sample in data} >= {11, 12}


@pytest.mark.filterwarnings("default:.*left out")
@pytest.mark.parametrize(
    "box",
    [
        None, [1, 2, 3], [[20, 5, 10, 10]], "20 5 10 10", [20, 5, -10, 10], [20, 5, 10, True],
        [20, 5, 10, float("nan")], [20, 5, 10, float("inf")], ["20", 5, 10, 10], [900, 5, 9, 9],
    ],
)  # fmt: skip
def test_a_box_that_is_none_is_left_out(tmp_path, box):
    instances = make_instances([(64, 48)])
    instances["annotations"][0]["bbox"] = box
    root = write_layout(tmp_path, instances, make_refs(instances, ["val"]))
    with pytest.warns(UserWarning, match="val: left out 2 expressions with an empty box"):
        data = open_refcoco("refcocog-umd", "val", root)
    assert [sample.ann_id for sample in data] == [11, 11, 12, 12] and data[0].box.tolist() == [21, 5, 31, 15]


@pytest.mark.parametrize(("field", "value"), [("id", 11), ("id", "x"), ("id", 10.5), ("id", None), ("id", True)])
def test_ids_of_annotations_are_whole_and_differ(tmp_path, field, value):
    instances = make_instances([(64, 48)])
    instances["annotations"][0][field] = value
    root = write_layout(tmp_path, instances, make_refs(make_instances([(64, 48)]), ["val"]))
    with pytest.raises(VGGymError, match=r"instances\.json.*(11 is given more than once|is not a whole number)"):
        open_refcoco("refcocog-umd", "val", root)
