"""Writers of tiny copies of benchmarks in their published layouts, with pictures of one colour each."""

import io
import json
import pickle

import pyarrow
import pyarrow.parquet
from PIL import Image

SIZE = (64, 48)


def picture(path=None, number=0):
    """Write a picture, or return it encoded."""
    target = io.BytesIO() if path is None else path
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE, (number, 128, 0)).save(target, "JPEG")
    return target.getvalue() if path is None else None


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def ref_l4(root):
    for split in ("val", "test"):
        rows = [
            {"id": 7_000_000 + k, "caption": f"the {split} thing {k}", "bbox": [5.25, 6.5, 20.5, 10.75],
             "bbox_area": 220.4, "bbox_id": f"o365_{k}", "ori_category_id": "o365_64", "image_id": f"o365_{9 + k}",
             "height": 48, "width": 64, "file_name": f"objects365_v2_{k:08d}.jpg", "is_rewrite": k == 1, "split": split}
            for k in range(2)
        ]  # fmt: skip
        parquet(root / "ref-l4" / f"ref-l4-{split}.parquet", rows)
    for k in range(2):
        picture(root / "ref-l4" / "images" / f"objects365_v2_{k:08d}.jpg", k)


def ref_adv_s(root):
    rows = [
        {"row_idx": k, "image": {"bytes": picture(number=k), "path": None}, "file_name": f"{k:012d}.jpg",
         "normal_caption": f"the one that is not {k}", "solution": [5.25, 6.5, 25.75, 17.25], "width": 64, "height": 48,
         "image_source": "COCO", "human_authored": True, "use_negation": k == 0, "distractors": 3}
        for k in range(2)
    ]  # fmt: skip
    parquet(root / "ref-adv-s" / "data" / "train-00000-of-00001.parquet", rows)


def grounding_me(root):
    rows = [
        {"id": k, "description": f"the lamp {k}", "image": {"bytes": picture(number=k), "path": None},
         "bbox": [5, 6, 25, 17], "detection_type": "x", "subtask_l1": task, "subtask_l2": "y", "width": 64,
         "height": 48}
        for k, task in enumerate(("Spatial", "Rejection", "Limited"))
    ]  # fmt: skip
    parquet(root / "grounding-me" / "data" / "test-00000-of-00001.parquet", rows)


def captions(path, annotations):
    """A file as MDETR writes it: an image for every expression."""
    images = [
        {"id": 800 + k, "file_name": name, "width": 64, "height": 48, "caption": f"the words {k}", "dataset_name": "x"}
        for k, (name, _) in enumerate(annotations)
    ]
    annotations = [
        {"id": 7_000_000 + k, "image_id": 800 + k, "bbox": [5.25, 6.5, 20.5, 10.75], "area": 220.4, "iscrowd": 0,
         "category_id": 1, **about}
        for k, (_, about) in enumerate(annotations)
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": []}))


def reviewed(root):
    names = {"refcoco": ("val", "testA", "testB"), "refcoco+": ("val", "testA", "testB"), "refcocog": ("val", "test")}
    for name, splits in names.items():
        for split in splits:
            path = root / "refcocos_annotation_reviewed" / f"{name}_{split}_reviewed.json"
            image = "COCO_train2014_000000000001.jpg"
            captions(path, [(image, {"caption_quality": quality}) for quality in (1, 0, 1)])
    picture(root / "images" / "train2014" / "COCO_train2014_000000000001.jpg")


def finecops_ref(root):
    home = root / "finecops-ref"
    none = {"level": 2, "negative_level": 1, "positive_id": "7000000", "tuple_type": "and"}
    positive = ("2386621.jpg", {"level": 2, "tuple_type": "and"})
    text = ("2386621.jpg", {**none, "negative_type": "attribute", "negative_cate": "text"})
    image = ("neg_12.jpg", {**none, "negative_type": "object", "negative_cate": "image"})
    captions(home / "test_expression_all_coco_format.json", [positive, text, image])
    captions(home / "expression_all_train_set_coco_format.json", [positive, text])
    captions(home / "expression_pos_final_val_set_coco_format.json", [positive])
    picture(home / "gqa_images" / "images" / "2386621.jpg", 1)
    picture(home / "final_neg_images" / "neg_12.jpg", 2)


def humanref(root):
    people = [[1.5, 2.5, 11.5, 40.5], [20.25, 2.5, 31.5, 41.5], [40.5, 3.5, 70, 44.5]]
    rows = [
        {"id": k, "image_name": f"{k}.jpg", "referring": f"the people {k}", "domain": domain, "sub_domain": "x",
         "candidate_boxes": people, "answer_boxes": [people[i] for i in answers], "answer_segmentations": []}
        for k, (domain, answers) in enumerate(
            [("attribute", [0]), ("position", [2, 1, 1]), ("rejection", []), ("celebrity", [1])]
        )
    ]  # fmt: skip
    for k in range(4):
        picture(root / "humanref" / "images" / f"{k}.jpg", k)
    (root / "humanref" / "annotations.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def d3(root):
    home = root / "d3"
    sentences = {
        1: {"id": 1, "anno_id": [1, 2], "group_id": [5], "is_negative": False, "raw_sent": "a dog", "raw_sent_zh": "x"},
        2: {"id": 2, "anno_id": [3], "group_id": [5], "is_negative": True, "raw_sent": "a dog without a leash",
            "raw_sent_zh": "x"},
        3: {"id": 3, "anno_id": [], "group_id": [6], "is_negative": False, "raw_sent": "a hat", "raw_sent_zh": "x"},
    }  # fmt: skip
    groups = {
        5: {"id": 5, "inner_sent_id": [1, 2], "pos_sent_id": [1, 2], "outer_sent_id": [], "img_id": [0, 1]},
        6: {"id": 6, "inner_sent_id": [3], "pos_sent_id": [], "outer_sent_id": [], "img_id": [2]},
    }
    boxes = [(0, 1, [5, 6, 20, 10]), (0, 1, [30, 6, 20, 10]), (0, 2, [30, 6, 20, 10]), (1, 1, [1, 2, 90, 30])]
    annotations = [
        {"id": k, "image_id": image, "category_id": sentence, "bbox": box, "iscrowd": 0}
        for k, (image, sentence, box) in enumerate(boxes)
    ]
    images = [{"id": k, "file_name": f"group/{k}.jpg", "width": 64, "height": 48} for k in range(3)]
    categories = [{"id": k, "name": one["raw_sent"]} for k, one in sentences.items()]
    (home / "d3_json").mkdir(parents=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    (home / "d3_json" / "d3_full_annotations.json").write_text(json.dumps(content))
    (home / "d3_pkl").mkdir()
    for name, value in (("sentences", sentences), ("groups", groups)):
        (home / "d3_pkl" / f"{name}.pkl").write_bytes(pickle.dumps(value))
    for k in range(3):
        picture(home / "d3_images" / "group" / f"{k}.jpg", k)


WRITERS = {
    "ref-l4": ref_l4,
    "ref-adv-s": ref_adv_s,
    "grounding-me": grounding_me,
    "refcoco-unc-reviewed": reviewed,
    "refcoco+-unc-reviewed": reviewed,
    "refcocog-umd-reviewed": reviewed,
    "finecops-ref": finecops_ref,
    "humanref": humanref,
    "d3": d3,
}
"""Data set -> writer of a tiny copy below a folder of data sets."""
