"""Writer of RefShapes in the published layout of RefCOCOg, for tests of its reader."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import KINDS
from vg_gym.data.worlds.refshapes.scenes import SHAPES
from vg_gym.storage.files import replacing, write_text


def write_refcocog_layout(splits: Sequence[RefShapes], root: str | Path) -> Path:
    """Write splits of RefShapes to disk in RefCOCOg's layout, readable as ``refcocog-umd``, and return the root.

    The files are ``annotations/refs(umd).p``, ``annotations/instances.json`` and ``images/train2014/*.jpg`` (quality
    95).
    """
    root = Path(root)
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    (root / "images" / "train2014").mkdir(parents=True, exist_ok=True)
    refs: list[dict] = []
    instances: dict[str, list] = {"images": [], "annotations": []}
    for split in splits:
        for index in range(split.scenes):
            _write_scene(split, index, root, refs, instances)
    categories = [{"id": i + 1, "name": shape, "supercategory": "shape"} for i, shape in enumerate(SHAPES)]
    text = json.dumps({"info": {"description": splits[0].name}, **instances, "categories": categories})
    write_text(root / "annotations" / "instances.json", text)
    with replacing(root / "annotations" / "refs(umd).p") as part:
        part.write_bytes(pickle.dumps(refs, protocol=2))
    return root


def _write_scene(split: RefShapes, index: int, root: Path, refs: list[dict], instances: dict[str, list]) -> None:
    record, objects = split.record(index), split.objects(split.record(index).image_id)
    file_name = f"COCO_train2014_{record.image_id:012d}.jpg"
    Image.fromarray(record.array()).save(root / "images" / "train2014" / file_name, quality=95)
    width, height = record.size
    instances["images"].append({"id": record.image_id, "file_name": file_name, "width": width, "height": height})
    for ann_id, box, shape in zip(objects.ann_ids, objects.boxes.tolist(), objects.categories, strict=True):
        x1, y1, x2, y2 = box
        instances["annotations"].append(
            {
                "id": ann_id,
                "image_id": record.image_id,
                "category_id": SHAPES.index(shape) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
            }
        )
    for sample in (split[index * len(KINDS) + i] for i in range(len(KINDS))):
        sentence = {"sent_id": sample.sent_id, "raw": sample.query.expression, "sent": sample.query.expression}
        refs.append(
            {
                "ref_id": sample.sent_id,
                "ann_id": sample.ann_id,
                "image_id": record.image_id,
                "category_id": SHAPES.index(sample.category) + 1,
                "split": split.split,
                "file_name": f"{file_name[:-4]}_{sample.ann_id}.jpg",
                "sentences": [{**sentence, "tokens": sample.query.expression.split()}],
                "sent_ids": [sample.sent_id],
            }
        )
