"""Parsers of the two published files of a RefCOCO-type set, ``refs(X)`` and ``instances.json``, into columns.

Columns can be memory-mapped from an index; 200,000 dictionaries would be parsed again whenever the set is opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from vg_gym import boxes as box_ops
from vg_gym.data.column_arrays import Columns, Strings
from vg_gym.data.safe_pickle import load_plain_pickle
from vg_gym.errors import VGGymError

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def lookup(ids: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Return the row in ``ids`` (M,) of every id in ``queries`` (N,) as integers (N,); -1 where it is absent."""
    if not len(ids):
        return np.full(len(queries), -1)
    order = np.argsort(ids, kind="stable")
    rows = order[np.minimum(np.searchsorted(ids, queries, sorter=order), len(ids) - 1)]
    return np.where(ids[rows] == queries, rows, -1)


def parse_instances(path: Path) -> Columns:
    """Parse COCO's ``instances.json`` into columns.

    The columns of images are ``image_id`` (M,) sorted, ``image_size`` (M, 2) width and height or 0 where unknown, and
    ``image_name``. The columns of annotations are ``ann_id`` (N,), ``ann_image`` (N,) row of the image, ascending,
    ``ann_box`` (N, 4) float32 ``xyxy`` pixels clamped to the image, NaN where there are not four finite numbers,
    ``ann_category`` (N,) row of ``category``, ``ann_crowd`` (N,) and ``ann_mask`` (segmentation as JSON). Two more
    columns are ``category`` (sorted names) and ``digest`` (32,), the SHA-256 of the file.

    Raises:
        VGGymError: the file is not JSON, or not of COCO's format; the message names the file and the fault.
    """
    content, data = _load_json(path)
    try:
        columns = _image_columns(content["images"])
        columns.update(_annotation_columns(content["annotations"], content["categories"], columns))
    except _MALFORMED as error:
        raise VGGymError(f"{path} is not a COCO annotation file ({error!r}); download it again") from error
    for name in ("image_id", "ann_id"):
        ids, counts = np.unique(columns[name], return_counts=True)
        for number in ids[counts > 1][:1].tolist():
            raise VGGymError(
                f"{path}: the {name} {number} is given more than once; ids must differ: get the original file"
            )
    return {**columns, "digest": np.frombuffer(hashlib.sha256(data).digest(), np.uint8)}


def _load_json(path: Path) -> tuple[Any, bytes]:
    """Return the contents of a JSON file, and its bytes."""
    try:
        data = path.read_bytes()
        return json.loads(data), data
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is not valid JSON ({error}); download it again") from error


def _image_columns(images: list[dict[str, Any]]) -> Columns:
    images = sorted(images, key=lambda image: image["id"])
    sizes = [(image.get("width") or 0, image.get("height") or 0) for image in images]
    return {
        "image_id": _whole(image["id"] for image in images),
        "image_size": np.array(sizes, np.int32).reshape(-1, 2),
        **Strings.pack("image_name", (image.get("file_name", "") for image in images)),
    }


def _annotation_columns(annotations: list[dict], categories: list[dict], images: Columns) -> Columns:
    row_of = {image: row for row, image in enumerate(images["image_id"].tolist())}
    annotations = sorted(annotations, key=lambda annotation: row_of[annotation["image_id"]])
    names = sorted({category["name"] for category in categories})
    name_of = {category["id"]: names.index(category["name"]) for category in categories}
    image_rows = np.array([row_of[a["image_id"]] for a in annotations], np.int32)
    boxes = _boxes([a["bbox"] for a in annotations])
    return {
        "ann_id": _whole(a["id"] for a in annotations),
        "ann_image": image_rows,
        "ann_box": _clamp(box_ops.from_xywh(boxes), images["image_size"][image_rows]),
        "ann_category": np.array([name_of[a["category_id"]] for a in annotations], np.int32),
        "ann_crowd": np.array([bool(a.get("iscrowd", 0)) for a in annotations], np.bool_),
        **Strings.pack("ann_mask", (_compact(a.get("segmentation") or []) for a in annotations)),
        **Strings.pack("category", names),
    }


def _whole(values: Iterable[Any]) -> np.ndarray:
    """Return ids as int64 (N,).

    Raises:
        ValueError: an id is not a whole number.
    """
    numbers = list(values)
    if kinds := {type(number) for number in numbers} - {int}:
        wrong = next(number for number in numbers if type(number) in kinds)
        raise ValueError(f"the id {wrong!r:.60} is not a whole number")
    return np.array(numbers, np.int64)


def _boxes(values: list[Any]) -> np.ndarray:
    """Return boxes as float64 (N, 4); NaN where there are not four finite numbers."""
    boxes = np.full((len(values), 4), np.nan)
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple)) and len(value) == 4 and {type(side) for side in value} <= {int, float}:
            boxes[row] = value
    return np.where(np.isfinite(boxes).all(axis=1, keepdims=True), boxes, np.nan)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _clamp(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Clamp boxes (N, 4) to images of ``sizes`` (N, 2), as float32; with an unknown size (0, 0) only to 0."""
    limits = np.where(sizes > 0, sizes, np.inf)
    return np.clip(boxes, 0, np.concatenate([limits, limits], axis=1)).astype(np.float32)


def parse_refs(path: Path) -> Columns:
    """Parse a published file of refs, the pickle ``refs(X).p`` or gRefCOCO's ``grefs(unc).json``, into columns.

    The columns of refs are ``ref_id`` and ``ref_image`` (R,), ``ref_split`` (R,) row of ``split``, and ``ref_name``
    (file names as published). The annotations of ref r are ``ref_ann[ref_ann.offsets[r] : ref_ann.offsets[r + 1]]``:
    one in RefCOCO, none, one or several in gRefCOCO. The columns of sentences are ``sent_id``, ``sent_ref`` (S,) row of
    the ref, and ``sent`` (the cleaned sentence, or the raw one where that is missing).

    Raises:
        VGGymError: the file is not a pickle of plain data or JSON, or not a list of refs; the message names the file
            and the fault.
    """
    refs = _load_json(path)[0] if path.suffix == ".json" else load_plain_pickle(path)
    try:
        return _ref_columns(refs)
    except _MALFORMED as error:
        raise VGGymError(f"{path} does not hold a list of refs ({error!r}); download it again") from error


def _ref_columns(refs: list[dict[str, Any]]) -> Columns:
    splits = sorted({ref["split"] for ref in refs})
    sentences = [(row, sentence) for row, ref in enumerate(refs) for sentence in ref["sentences"]]
    texts = ((sentence.get("sent") or sentence.get("raw") or "").strip() for _, sentence in sentences)
    targets = [_targets(ref) for ref in refs]
    return {
        "ref_id": _whole(ref["ref_id"] for ref in refs),
        "ref_ann": _whole(number for ids in targets for number in ids),
        "ref_ann.offsets": np.cumsum([0, *map(len, targets)], dtype=np.int64),
        "ref_image": _whole(ref["image_id"] for ref in refs),
        "ref_split": np.array([splits.index(ref["split"]) for ref in refs], np.int32),
        **Strings.pack("ref_name", (ref["file_name"] for ref in refs)),
        **Strings.pack("split", splits),
        "sent_id": _whole(sentence["sent_id"] for _, sentence in sentences),
        "sent_ref": np.array([row for row, _ in sentences], np.int32),
        **Strings.pack("sent", texts),
    }


def _targets(ref: dict[str, Any]) -> list[Any]:
    """Return the annotations of a ref without repetitions; gRefCOCO writes ``[-1]`` for none.

    Raises:
        ValueError: the flag ``no_target`` contradicts the annotations.
    """
    ids = ref["ann_id"] if isinstance(ref["ann_id"], (list, tuple)) else [ref["ann_id"]]
    targets = [number for number in dict.fromkeys(ids) if number != -1]
    if bool(ref.get("no_target", not targets)) == bool(targets):
        raise ValueError(f"ref {ref['ref_id']} says no_target={ref['no_target']} with the annotations {targets}")
    return targets


def decode_mask(segmentation: object, size: tuple[int, int]) -> np.ndarray:
    """Decode a COCO segmentation to a mask, bool (H, W), with pycocotools.

    Args:
        segmentation: polygons (lists of x, y, ... in pixels, united), or a run-length code whose ``counts`` are a list
            (uncompressed) or a string (compressed).
        size: (width, height) of the image.

    Raises:
        ValueError: the segmentation has neither form, or not the size of the image.
    """
    width, height = size
    if isinstance(segmentation, dict):
        code = _run_length(segmentation, height, width)
    elif isinstance(segmentation, list) and segmentation and all(_is_polygon(part) for part in segmentation):
        code = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    else:
        raise ValueError("it is neither a list of polygons of three or more points nor a run-length code")
    return coco_mask.decode(code).astype(bool)


def _is_polygon(part: object) -> bool:
    # pycocotools would read four numbers as a box.
    return isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0


def _run_length(code: dict, height: int, width: int) -> dict:
    if list(code.get("size", [])) != [height, width]:
        raise ValueError(f"its size is {code.get('size')}, but the image's is [{height}, {width}]")
    counts = code.get("counts")
    if isinstance(counts, (str, bytes)):
        return code
    if not isinstance(counts, list) or not counts:
        raise ValueError("its run-length code has no counts")
    if sum(counts) != height * width or min(counts) < 0:
        raise ValueError(f"its runs do not add up to {height}x{width} pixels")
    return coco_mask.frPyObjects(code, height, width)
