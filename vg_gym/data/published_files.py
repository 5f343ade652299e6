"""Parsers of the annotation files of HumanRef, FineCops-Ref, the reviewed RefCOCO sets and D3 into columns.

Each maps the published fields to those of a user's rows (:mod:`vg_gym.data.rows`). The layouts were read in the code
and pages of their publishers; docs/datasets.md names them. They are not tried with the real files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vg_gym.data.column_arrays import Columns
from vg_gym.data.own_files import json_of, json_rows
from vg_gym.data.row_boxes import Row
from vg_gym.data.rows import RowTable
from vg_gym.data.safe_pickle import load_plain_pickle
from vg_gym.errors import VGGymError

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)


def parse_humanref(path: Path) -> Columns:
    """Parse ``annotations.jsonl`` of HumanRef; the persons in ``candidate_boxes`` are objects without an expression.

    Raises:
        VGGymError: a row is wrong; the message names the file and the row.
    """
    table = RowTable(path, defaults={"category": "person"})
    for number, item in json_rows(path):
        fields = item if isinstance(item, dict) else {}
        shared = {"image": _below("images", fields.get("image_name")), "id": fields.get("id")}
        boxes = {"boxes": _distinct(fields.get("answer_boxes"))}
        kind = {"expression": fields.get("referring"), "kind": fields.get("domain")}
        table.add(number, {**shared, **boxes, **kind})
        table.add(number, {**shared, "boxes": _distinct(fields.get("candidate_boxes"))}, expression=False)
    return table.columns()


def _below(folder: str, name: Any) -> Any:
    return f"{folder}/{name}" if isinstance(name, str) and name else name


def _distinct(boxes: Any) -> Any:
    """Return a list of boxes without repetitions; anything else as it is, to be refused as a row."""
    if not isinstance(boxes, list):
        return boxes
    return [box for i, box in enumerate(boxes) if box not in boxes[:i]]


def parse_finecops(path: Path) -> Columns:
    """Parse a file of FineCops-Ref in COCO's format: an image entry with a ``caption`` for every annotation.

    The negative ones, whose words or picture were changed, carry the box of the positive one, which is left out.

    Raises:
        VGGymError: the file has another format, or an annotation is wrong; the message names them.
    """

    def kind_of(annotation: dict[str, Any]) -> tuple[str, bool]:
        if annotation.get("negative_type") is None and annotation.get("negative_cate") is None:
            return f"level {annotation['level']}", True
        return f"negative {annotation['negative_cate']}", False

    return _parse_captions(path, kind_of)


def parse_reviewed(path: Path) -> Columns:
    """Parse a file of the reviewed RefCOCO sets: the kind of an expression is ``clean`` or ``mislabeled``.

    Raises:
        VGGymError: the file has another format, or an annotation is wrong; the message names them.
    """
    return _parse_captions(path, lambda one: ("clean" if one["caption_quality"] else "mislabeled", True))


def _parse_captions(path: Path, kind_of: Callable[[dict[str, Any]], tuple[str, bool]]) -> Columns:
    """Parse COCO's format with a ``caption`` for every image entry, as MDETR writes it.

    Args:
        path: path of the file.
        kind_of: function from an annotation to the kind of its expression, and whether its box is meant.
    """
    content = json_of(path)
    table = RowTable(path, "annotation", {"box_format": "xywh"})
    for number, (annotation, image) in enumerate(_pairs(path, content), 1):
        try:
            kind, meant = kind_of(annotation)
            caption = annotation.get("caption") or image.get("caption")
            sides = _clamped(annotation["bbox"], image["width"], image["height"])
            size = {"width": image["width"], "height": image["height"]}
            table.add(number, {"image": image["file_name"], "expression": caption, "boxes": [sides] if meant else [],
                               "kind": kind, "id": annotation["id"], **size})  # fmt: skip
        except _MALFORMED as error:
            raise VGGymError(f"{path} annotation {number} is malformed ({error!r}); download it again") from error
    return table.columns()


def _pairs(path: Path, content: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the annotations with their images."""
    try:
        images = {image["id"]: image for image in content["images"]}
        annotations = content["annotations"] if "annotations" in content else content["annotation"]
        yield from ((annotation, images[annotation["image_id"]]) for annotation in annotations)
    except _MALFORMED as error:
        raise VGGymError(f"{path} is not a COCO annotation file ({error!r}); download it again") from error


def _clamped(box: list[float], width: int, height: int) -> list[float]:
    """Return a box as left, top, width, height, clamped to its image."""
    left, top, wide, high = box
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
    return [x1, y1, x2 - x1, y2 - y1]


def parse_d3(path: Path) -> Columns:
    """Parse D3: boxes from ``d3_json/d3_full_annotations.json``, descriptions from the pickles in ``d3_pkl`` beside it.

    Every image is asked for the descriptions of its group, which is the intra-group setting of the paper. The kind of
    an expression is ``presence`` or ``absence``.

    Raises:
        VGGymError: a file has another format or names anything but plain data, or a row is wrong.
    """
    content, pickles = json_of(path), path.parents[1] / "d3_pkl"
    sentences, groups = (load_plain_pickle(pickles / f"{name}.pkl") for name in ("sentences", "groups"))
    boxes: dict[tuple[Any, Any], list[list[float]]] = defaultdict(list)
    try:
        for annotation, image in _pairs(path, content):
            boxes[image["id"], annotation["category_id"]].append(annotation["bbox"])
        images = {image["id"]: image for image in content["images"]}
        pairs = [(i, k) for group in groups.values() for i in group["img_id"] for k in group["inner_sent_id"]]
        rows = [_d3_row(images[i], sentences[k], boxes[images[i]["id"], k]) for i, k in pairs]
    except _MALFORMED as error:
        raise VGGymError(
            f"{path} and the files in {pickles} do not go together ({error!r}); take them from one download"
        ) from error
    table = RowTable(path, "description", {"box_format": "xywh"})
    for number, row in enumerate(rows, 1):
        table.add(number, row)
    return table.columns()


def _d3_row(image: dict[str, Any], sentence: dict[str, Any], boxes: list[list[float]]) -> Row:
    width, height = image["width"], image["height"]
    return {
        "image": _below("d3_images", image["file_name"]),
        "expression": sentence["raw_sent"],
        "boxes": _distinct([_clamped(box, width, height) for box in boxes]),
        "kind": "absence" if sentence["is_negative"] else "presence",
        "width": width,
        "height": height,
    }
