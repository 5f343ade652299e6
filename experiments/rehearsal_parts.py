"""Stand-ins for a rehearsal: data in RefCOCOg's layout and sizes, and models of published sizes with random weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
import transformers as t
from PIL import Image

from experiments.tiny_parts import byte_tokenizer, word_tokenizer
from vg_gym.baselines.detectors.yolo import ultralytics_package
from vg_gym.cli.recipe_steps import EXPRESSIONS, IMAGES
from vg_gym.data.worlds.refscenes.samples import RefScenes
from vg_gym.learned.model import build
from vg_gym.learned.weights import save_model
from vg_gym.types import Objects

INSTANCES_FILE, REFS_FILE = "instances.json", "refs(umd).p"
"""Names of the published files."""
REFS = 49_822
"""Number of RefCOCOg's objects with expressions."""
PICTURES, SIZE = 16, (640, 480)
"""Number of different pictures, and their width and height."""
YOLO_FILE = Path("cache", "vg_gym", "weights", "yolov8x.pt")
"""Place of YOLOv8x below the folder of the rehearsal, where the published weights would be."""
CLIPS = ("ViT-B-32", "ViT-L-14")
"""Architectures of open_clip."""
YOLO_LOGIT, DETR_LOGIT = -1.0, 3.0
"""Biases of class scores, with which boxes are more confident than pipelines and agents demand, 0.1."""


@dataclass(frozen=True)
class Picture:
    """Scene that is drawn once and linked many times."""

    pixels: np.ndarray
    objects: Objects
    texts: dict[int, list[str]]
    """Row of an object -> its expressions."""


def write_data(out: Path) -> None:
    """Write images and annotations with the numbers of the published files into ``out/data``."""
    pictures = drawn()
    folder = out / "data" / "refcocog"
    names = sorted({name for picture in pictures for name in picture.objects.categories})
    files = [f"COCO_train2014_{i:012d}.jpg" for i in range(IMAGES["all"])]
    link_images(pictures, files, folder / "images" / "train2014", out / "pictures")
    annotations = [list(annotations_of(pictures[i % PICTURES].objects, i, names)) for i in range(len(files))]
    content = {
        "images": [{"id": i, "file_name": file, "width": SIZE[0], "height": SIZE[1]} for i, file in enumerate(files)],
        "annotations": [row for rows in annotations for row in rows],
        "categories": [{"id": i, "name": name, "supercategory": "thing"} for i, name in enumerate(names)],
    }
    (folder / INSTANCES_FILE).write_text(json.dumps(content))
    refs = list(refs_of(pictures, annotations))
    (folder / REFS_FILE).write_bytes(pickle.dumps(refs, protocol=2))
    count = sum(len(ref["sentences"]) for ref in refs)
    print(f"{len(files):,} images, {len(content['annotations']):,} objects, {len(refs):,} refs, {count:,} expressions")


def write_small(out: Path) -> None:
    """Write a copy of the data into ``out/small`` that has the first image of each split alone, for the agents."""
    source, folder = out / "data" / "refcocog", out / "small" / "refcocog"
    refs, content = pickle.loads((source / REFS_FILE).read_bytes()), json.loads((source / INSTANCES_FILE).read_text())
    first: dict[str, int] = {}
    for row in refs:
        first.setdefault(row["split"], row["image_id"])
    images = set(first.values())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").unlink(missing_ok=True)
    (folder / "images").symlink_to((source / "images").resolve())
    content["images"] = [row for row in content["images"] if row["id"] in images]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] in images]
    (folder / INSTANCES_FILE).write_text(json.dumps(content))
    (folder / REFS_FILE).write_bytes(pickle.dumps([row for row in refs if row["image_id"] in images], protocol=2))


def drawn() -> list[Picture]:
    """Draw scenes of RefScenes."""
    data, pictures = RefScenes("train", image_size=SIZE[0]), []
    for scene in range(data.scenes):
        samples = data[scene * data.expressions : (scene + 1) * data.expressions]
        image, objects = samples[0].query.image, data.objects(samples[0].image_id)
        if image.size == SIZE:
            texts: dict[int, list[str]] = {}
            for sample in samples:
                texts.setdefault(objects.ann_ids.index(sample.ann_id), []).append(sample.query.expression)
            pictures.append(Picture(image.array(), objects, texts))
        if len(pictures) == PICTURES:
            break
    return pictures


def link_images(pictures: list[Picture], files: list[str], links: Path, folder: Path) -> None:
    """Write the pictures into a folder, and a link to one of them for each image."""
    links.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture.pixels).save(folder / f"{number}.jpg", quality=90)
    for i, file in enumerate(files):
        if not (links / file).is_symlink():
            (links / file).symlink_to((folder / f"{i % PICTURES}.jpg").resolve())


def annotations_of(objects: Objects, image: int, names: list[str]) -> Iterator[dict]:
    """Yield the annotations of an image; their numbers are unique below 1,000 objects an image."""
    for row, ((x1, y1, x2, y2), name) in enumerate(zip(objects.boxes.tolist(), objects.categories, strict=True)):
        width, height = x2 - x1, y2 - y1
        yield {
            "id": 1000 * image + row, "image_id": image, "category_id": names.index(name), "iscrowd": 0,
            "bbox": [x1, y1, width, height], "area": width * height,
            "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        }  # fmt: skip


def refs_of(pictures: list[Picture], annotations: list[list[dict]]) -> Iterator[dict]:
    """Yield the refs of all splits; refs and expressions are dealt out evenly to images and refs."""
    ref_id = sent_id = first_image = 0
    for split in ("train", "val", "test"):
        count = round(REFS * EXPRESSIONS[split] / EXPRESSIONS["all"])
        ends = np.linspace(0, EXPRESSIONS[split], count + 1).astype(int).tolist()
        for j in range(count):
            image = first_image + j % IMAGES[split]
            texts = [*pictures[image % PICTURES].texts.items()]
            row, words = texts[j // IMAGES[split] % len(texts)]
            sent_ids = [*range(sent_id, sent_id + ends[j + 1] - ends[j])]
            yield ref(ref_id, annotations[image][row], split, [words[i % len(words)] for i in sent_ids], sent_ids)
            ref_id, sent_id = ref_id + 1, sent_id + len(sent_ids)
        first_image += IMAGES[split]


def ref(number: int, annotation: dict, split: str, texts: list[str], sent_ids: list[int]) -> dict:
    """Return the ref of an annotated object."""
    ids = {"ref_id": number, "ann_id": annotation["id"], "split": split, "sent_ids": sent_ids}
    shared = {key: annotation[key] for key in ("image_id", "category_id")}
    sentences = [
        {"sent_id": sent_id, "sent": text, "raw": text, "tokens": text.split()}
        for sent_id, text in zip(sent_ids, texts, strict=True)
    ]
    name = f"COCO_train2014_{annotation['image_id']:012d}_{annotation['id']}.jpg"
    return {**ids, **shared, "file_name": name, "sentences": sentences}


def write_weights(out: Path) -> None:
    """Write all models into ``out/weights``, and YOLO where published weights are looked for."""
    folder = out / "weights"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    for name in CLIPS:
        torch.save(open_clip.create_model(name).state_dict(), folder / f"{name}.pt")
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    byte_tokenizer(*special.values(), **special).save_pretrained(folder / "roberta")
    word_tokenizer(folder / "bert").save_pretrained(folder / "bert")
    for name, tokenizer in {"mdetr": "roberta", "transvg": "bert"}.items():
        options = {"backbone_weights": None, "text_weights": None, "tokenizer": str(folder / tokenizer)}
        save_model(name, build(name, options), folder / name)
    write_detr(folder / "detr")
    write_yolo(out / YOLO_FILE)


def write_detr(folder: Path) -> None:
    """Write a DETR with a ResNet-50 into a folder, in transformers' layout."""
    resnet = t.ResNetConfig(out_features=["stage4"])
    config = t.DetrConfig(backbone_config=resnet, use_timm_backbone=False, num_labels=91)
    detr = t.DetrForObjectDetection(config)
    detr.class_labels_classifier.bias.data[1] = DETR_LOGIT
    detr.save_pretrained(folder)
    t.DetrImageProcessor().save_pretrained(folder)


def write_yolo(path: Path) -> None:
    """Write a YOLOv8x into a file of ultralytics."""
    path.parent.mkdir(parents=True, exist_ok=True)
    yolo = ultralytics_package().YOLO("yolov8x.yaml", task="detect", verbose=False)
    for branch in yolo.model.model[-1].cv3:
        branch[-1].bias.data.fill_(YOLO_LOGIT)
    yolo.save(path)
