"""Files of a user's own data, as columns (:mod:`vg_gym.data.rows`): JSON Lines, and JSON in COCO's style."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vg_gym.data.index import Columns
from vg_gym.data.rows import DEFAULTS, RowTable
from vg_gym.errors import VGGymError

LONGEST = 1 << 20
"""Bytes of a line; a longer one is no row."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json_lines(path: Path) -> Columns:
    """A file with a row a line; blank lines are passed over.

    A first line ``{"defaults": {...}}`` holds fields of all rows that do not say otherwise.

    Raises:
        VGGymError: a row is wrong, or there is none; names the file and the line.
    """
    table = RowTable(path)
    for number, line in _lines(path):
        try:
            row, end = _DECODER.raw_decode(line)
            if end < len(line):
                raise ValueError(f"more than one value, from character {end + 1} on")
        except (ValueError, RecursionError) as error:
            table.check()  # what is wrong further up is said first
            raise VGGymError(f"{path} row {number} is not JSON ({error}); each line is one object") from error
        if isinstance(row, dict) and "defaults" in row and number == 1:
            table.defaults = _defaults(path, row["defaults"])
        else:
            table.add(number, row)
    return table.columns()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of the lines that are not blank."""
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise VGGymError(f"{path} row {number} is longer than {LONGEST:,} bytes: not a row of JSON Lines")
                text = line.removeprefix(BOM_UTF8).decode("utf-8").strip()  # joined files have several marks
                if text:
                    yield number, text
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise VGGymError(f"{path} row {number} is not UTF-8 ({error.reason}); save the file as UTF-8") from error


def _defaults(path: Path, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not set(given) <= set(DEFAULTS):
        raise VGGymError(f'{path}: "defaults" is an object of {", ".join(DEFAULTS)}, got {str(given)[:80]}')
    return given


def parse_coco_style(path: Path) -> Columns:
    """A JSON object with ``images``, ``annotations`` and ``categories`` as COCO's, and expressions.

    An annotation has ``expression`` (a text) or ``expressions`` (a list); one without is an object that no expression
    means. ``bbox`` is ``xywh`` in pixels; ``defaults`` may say otherwise. ``split`` is the image's or the annotation's.

    Raises:
        VGGymError: it is not such a file, or an annotation is wrong; names the file and the annotation.
    """
    content = _json(path)
    known = content if isinstance(content, dict) else {}
    images, annotations = known.get("images"), known.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise VGGymError(f'{path} is no object with the lists "images" and "annotations"; see docs/data.md')
    by_id = {image["id"]: image for image in _objects(path, "images", images)}
    if len(by_id) < len(images):
        raise VGGymError(f'{path}: {len(images) - len(by_id)} of "images" share an id with another; ids must differ')
    whole = {
        "image_id": all(type(image["id"]) is int for image in images),
        "ann_id": all(type(annotation["id"]) is int for annotation in _objects(path, "annotations", annotations)),
    }
    names = {str(c["id"]): c.get("name") for c in _objects(path, "categories", content.get("categories") or [])}
    defaults = {"box_format": "xywh", **_defaults(path, content.get("defaults") or {})}
    table, number = RowTable(path, "annotation", defaults), 0
    for number, annotation in enumerate(annotations, 1):
        wanted = annotation.get("image_id")
        if not isinstance(wanted, (int, str)) or (image := by_id.get(wanted)) is None:
            raise VGGymError(f"{path} annotation {number}: no image has the id {wanted!r:.60}")
        row = _row(annotation, image, names.get(str(annotation.get("category_id"))), whole)
        texts = annotation.get("expressions", [annotation["expression"]] if "expression" in annotation else [])
        if not isinstance(texts, list):
            raise VGGymError(f'{path} annotation {number}: "expressions" is a list of texts, not {texts!r:.60}')
        for k, text in enumerate(texts):
            table.add(number, {**row, "expression": text, "id": f"{row['id']}-{k}" if len(texts) > 1 else row["id"]})
        if not texts and not annotation.get("iscrowd"):
            table.add(number, row, expression=False)
    return table.columns()


def _json(path: Path) -> Any:
    try:
        return _DECODER.decode(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is not JSON ({error}); a file with an object a line is called .jsonl") from error


def _objects(path: Path, name: str, found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise VGGymError(f'{path}: "{name}" is no list')
    for number, item in enumerate(found, 1):
        if not isinstance(item, dict) or not isinstance(item.get("id"), (int, str)):
            raise VGGymError(f'{path}: number {number} of "{name}" is not an object with an "id"')
    return found


def _row(annotation: dict[str, Any], image: dict[str, Any], category: Any, whole: dict[str, bool]) -> dict[str, Any]:
    """The fields of a row, without its expression; ids of a kind are taken where all are ``whole`` numbers."""
    row: dict[str, Any] = {
        "image": image.get("file_name"),
        "width": image.get("width"),
        "height": image.get("height"),
        "box": annotation.get("bbox"),
        "category": category,
        "split": annotation.get("split", image.get("split")),
        "id": annotation["id"],
        "image_id": image["id"] if whole["image_id"] else None,
        "ann_id": annotation["id"] if whole["ann_id"] else None,
        "orientation": annotation.get("orientation", image.get("orientation")),
    }
    named: dict[str, Any] = {
        field: annotation[field] for field in ("frame", "box_format", "kind", "ref_id") if field in annotation
    }
    return {field: value for field, value in {**row, **named}.items() if value is not None}
