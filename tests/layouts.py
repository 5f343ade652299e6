"""A small data set in RefCOCO's layout on disk, and where the real annotations may be."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

OF_PYCOCOTOOLS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""pycocotools 2.0.11 has not followed numpy 2's protocol for arrays yet."""
SMALL_COPY = [pytest.mark.filterwarnings("ignore:.*this copy is partial"), OF_PYCOCOTOOLS]
"""Marks of a file of tests on small copies of published data."""


def real_data(folder):
    """A folder of the real annotations, or skip."""
    default = Path(__file__).resolve().parents[2] / "shared" / "realdata"
    place = Path(os.environ.get("VG_GYM_REALDATA", default)) / folder
    if not place.is_dir():
        pytest.skip(f"no real annotations at {place}; set VG_GYM_REALDATA")
    return place


def compressed(mask):
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


def uncompressed(mask):
    """Column-wise runs, the first of zeros."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": runs if flat[0] == 0 else [0, *runs]}


def make_instances(sizes):
    """Images 1, 2, ... of these (W, H), each with objects 10 i + 0, 1, 2 whose masks are the three kinds of code."""
    images, annotations = [], []
    for image_id, (width, height) in enumerate(sizes, 1):
        name = f"COCO_train2014_{image_id:012d}.jpg"
        images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        mask = np.zeros((height, width), bool)
        mask[5:15, 20:30] = True
        codes = [[[20, 5, 30, 5, 30, 15, 20, 15]], uncompressed(mask), compressed(mask)]
        for number, code in enumerate(codes):
            annotations.append(
                {
                    "id": 10 * image_id + number,
                    "image_id": image_id,
                    "category_id": 7 + number,
                    "bbox": [20 + number, 5, 10, 10],
                    "area": 100,
                    "iscrowd": 0,
                    "segmentation": code,
                }
            )
    categories = [{"id": 7, "name": "zebra"}, {"id": 8, "name": "cat"}, {"id": 9, "name": "dog"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def make_refs(instances, splits):
    """One ref with two sentences for every annotation; image i is of split ``splits[i % len(splits)]``."""
    refs = []
    for ref_id, annotation in enumerate(instances["annotations"]):
        image_id = annotation["image_id"]
        sentences = [
            {"sent_id": 2 * ref_id + i, "sent": f"the {ref_id} {word}", "raw": f"The {ref_id} {word}!", "tokens": []}
            for i, word in enumerate(("café", "one"))
        ]
        refs.append(
            {
                "ref_id": ref_id,
                "ann_id": annotation["id"],
                "image_id": image_id,
                "category_id": annotation["category_id"],
                "file_name": f"COCO_train2014_{image_id:012d}_{annotation['id']}.jpg",
                "split": splits[image_id % len(splits)],
                "sentences": sentences,
                "sent_ids": [sentence["sent_id"] for sentence in sentences],
            }
        )
    return refs


def write_layout(root, instances, refs, refs_name="refs(umd).p", annotations="annotations", images="images/train2014"):
    """Write the published layout below ``root``, with images of one colour each."""
    (root / annotations).mkdir(parents=True, exist_ok=True)
    (root / images).mkdir(parents=True, exist_ok=True)
    (root / annotations / "instances.json").write_text(json.dumps(instances))
    content = json.dumps(refs).encode() if refs_name.endswith(".json") else pickle.dumps(refs, protocol=2)
    (root / annotations / refs_name).write_bytes(content)
    for image in instances["images"]:
        size = (image.get("width") or 64, image.get("height") or 48)
        Image.new("RGB", size, (image["id"] % 256, 128, 0)).save(root / images / image["file_name"])
    return root


def never(name):
    """A parser that must not be called, in place of the one of that name."""

    def parse(path):
        raise AssertionError(f"{name} parses {path}")

    parse.__qualname__ = name
    return parse
