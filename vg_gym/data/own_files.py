"""Parsers of a user's files into columns (:mod:`vg_gym.data.rows`): JSON Lines, CSV, and JSON in COCO's style."""

from __future__ import annotations

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vg_gym.data.column_arrays import Columns
from vg_gym.data.row_boxes import Row
from vg_gym.data.rows import DEFAULTS, RowTable
from vg_gym.errors import VGGymError

SHARED = ("box_format", "frame")
"""Fields that the objects of one expression share."""
CORNERS = ("x1", "y1", "x2", "y2")
"""Columns of a CSV file that are a box."""
WHOLE_FIELDS = ("width", "height", "image_id", "ann_id", "ref_id")
"""Fields that are whole numbers."""
MAX_LINE_BYTES = 1 << 20
"""Maximum size of a line in bytes; a longer line is not a row."""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json_lines(path: Path) -> Columns:
    """Parse a file with one row per line; blank lines are skipped.

    A first line ``{"defaults": {...}}`` holds default values of the rows' fields.

    Raises:
        VGGymError: a row is wrong, or there is none; the message names the file and the line.
    """
    table = RowTable(path)
    for number, row in json_rows(path, table.check):
        if isinstance(row, dict) and "defaults" in row and number == 1:
            table.defaults = _defaults(path, row["defaults"])
        else:
            table.add(number, row)
    return table.columns()


def json_rows(path: Path, before_error: Callable[[], None] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield (number from 1, value) of the lines of a file that are not blank.

    Args:
        path: path of the file.
        before_error: function that is called before an error, and may raise the error of an earlier line.

    Raises:
        VGGymError: a line is not one value of JSON; the message names the file and the line.
    """
    for number, line in _lines(path):
        try:
            row, end = _DECODER.raw_decode(line)
            if end < len(line):
                raise ValueError(f"more than one value, from character {end + 1} on")
        except (ValueError, RecursionError) as error:
            if before_error is not None:
                before_error()
            raise VGGymError(f"{path} row {number} is not JSON ({error}); each line is one object") from error
        yield number, row


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, text) of the lines that are not blank."""
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise VGGymError(
                        f"{path} row {number} is longer than {MAX_LINE_BYTES:,} bytes: not a row of JSON Lines"
                    )
                text = line.removeprefix(BOM_UTF8).decode("utf-8").strip()  # joined files have several byte order marks
                if text:
                    yield number, text
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise VGGymError(f"{path} row {number} is not UTF-8 ({error.reason}); save the file as UTF-8") from error


def _defaults(path: Path, fields: Any) -> dict[str, Any]:
    if not isinstance(fields, dict) or not set(fields) <= set(DEFAULTS):
        raise VGGymError(f'{path}: "defaults" is an object of {", ".join(DEFAULTS)}, got {str(fields)[:80]}')
    return fields


def parse_csv(path: Path) -> Columns:
    """Parse a CSV file whose first line names the fields; ``box`` and ``boxes`` are JSON, empty cells are missing.

    The columns ``x1``, ``y1``, ``x2`` and ``y2`` are the box, too.

    Raises:
        VGGymError: a row is wrong, or there is none; the message names the file and the line.
    """
    table = RowTable(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            for name in (name for name in names if names.count(name) > 1):
                raise VGGymError(f"{path} has two columns {name!r:.60}; names of columns must differ")
            for row in reader:
                table.add(reader.line_num, _row_of_cells(f"{path} row {reader.line_num}", row))
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise VGGymError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one") from error
    return table.columns()


def _row_of_cells(where: str, cells: dict[Any, Any]) -> Row:
    """Return the fields of a line; a cell that should be JSON or a whole number and is not stays a text."""
    if None in cells or None in cells.values():
        raise VGGymError(f"{where} has not as many cells as the first line; quote texts with commas")
    row: Row = {field: cell for field, cell in cells.items() if cell.strip()}
    if {*CORNERS} <= {*row} and not {"box", "boxes"} & {*row}:
        row["box"] = [_value(row[corner]) for corner in CORNERS]
    for field in ("box", "boxes", *WHOLE_FIELDS):
        if isinstance(row.get(field), str):
            row[field] = _value(row[field])
    return row


def _value(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return text


def parse_coco_style(path: Path) -> Columns:
    """Parse a JSON object with ``images``, ``annotations`` and ``categories`` like COCO's, and with expressions.

    An annotation has ``expression`` (a text) or ``expressions`` (a list); one without is an object that no expression
    refers to. ``bbox`` is ``xywh`` in pixels unless ``defaults`` says otherwise. ``split`` belongs to the image or to
    the annotation. Expressions that mean none or several objects stand in a list ``expressions`` of the file, each with
    ``id``, ``image_id``, ``expression`` and the list ``ann_ids``.

    Raises:
        VGGymError: the file has another format, or an annotation or expression is wrong; the message names the file and
            its number, counted through the annotations and then the expressions.
    """
    content = json_of(path)
    members = content if isinstance(content, dict) else {}
    images, annotations = members.get("images"), members.get("annotations")
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise VGGymError(f'{path} is not an object with the lists "images" and "annotations"; see docs/data.md')
    by_id = {image["id"]: image for image in _objects(path, "images", images)}
    if len(by_id) < len(images):
        raise VGGymError(f'{path}: {len(images) - len(by_id)} of "images" share an id with another; ids must differ')
    whole = {
        "image_id": all(type(image["id"]) is int for image in images),
        "ann_id": all(type(annotation["id"]) is int for annotation in _objects(path, "annotations", annotations)),
    }
    names = {str(c["id"]): c.get("name") for c in _objects(path, "categories", content.get("categories") or [])}
    defaults = {"box_format": "xywh", **_defaults(path, content.get("defaults") or {})}
    expressions = _objects(path, "expressions", content.get("expressions") or [])
    table = RowTable(path, "annotation or expression" if expressions else "annotation", defaults)
    rows: dict[int | str, Row] = {}
    for number, annotation in enumerate(annotations, 1):
        where = f"{path} annotation {number}"
        category = names.get(str(annotation.get("category_id")))
        row = rows[annotation["id"]] = _row(annotation, _image_of(where, annotation, by_id), category, whole)
        texts = annotation.get("expressions", [annotation["expression"]] if "expression" in annotation else [])
        if not isinstance(texts, list):
            raise VGGymError(f'{where}: "expressions" is a list of texts, not {texts!r:.60}')
        for k, text in enumerate(texts):
            table.add(number, {**row, "expression": text, "id": f"{row['id']}-{k}" if len(texts) > 1 else row["id"]})
        if not texts and not annotation.get("iscrowd"):
            table.add(number, row, expression=False)
    free = max((one for one in rows if type(one) is int), default=0) + 1
    for number, item in enumerate(expressions, 1):
        where = f"{path} expression {number}"
        targets = _targets_of(where, item, _image_of(where, item, by_id), rows)
        numbers = {"ann_id": targets[0]["ann_id"] if targets else free + number} if whole["ann_id"] else {}
        row = _row(item, by_id[item["image_id"]], None, {**whole, "ann_id": False})
        boxes = {"boxes": [target.get("box") for target in targets]}
        about = {field: targets[0][field] for field in ("category", *SHARED) if targets and field in targets[0]}
        words = {"id": f"e{item['id']}", "expression": item.get("expression")}
        table.add(len(annotations) + number, {**row, **numbers, **boxes, **about, **words})
    return table.columns()


def _image_of(where: str, item: dict[str, Any], images: dict[int | str, dict[str, Any]]) -> dict[str, Any]:
    """Return the image of an annotation or expression, which errors call ``where``."""
    image_id = item.get("image_id")
    if not isinstance(image_id, (int, str)) or image_id not in images:
        raise VGGymError(f"{where}: no image has the id {image_id!r:.60}")
    return images[image_id]


def _targets_of(where: str, item: dict[str, Any], image: dict[str, Any], rows: dict[int | str, Row]) -> list[Row]:
    """Return the rows of the annotations that an expression means.

    Raises:
        VGGymError: they are not annotations of its image, or the formats of their boxes differ.
    """
    ids = item.get("ann_ids")
    if not isinstance(ids, list) or not all(isinstance(one, (int, str)) and one in rows for one in ids):
        raise VGGymError(f'{where}: "ann_ids": {ids!r:.60} is not a list of ids of annotations; write [] for none')
    targets = [rows[one] for one in ids]
    if any(target.get("image") != image.get("file_name") for target in targets):
        raise VGGymError(f'{where}: "ann_ids": {ids!r:.60} are not all in image {item["image_id"]!r:.60}')
    if any(target.get(field) != targets[0].get(field) for field in SHARED for target in targets):
        raise VGGymError(f'{where}: the boxes of "ann_ids": {ids!r:.60} differ in {" or ".join(SHARED)}')
    return targets


def json_of(path: Path) -> Any:
    """Return the contents of a JSON file.

    Raises:
        VGGymError: it cannot be read, or is not JSON.
    """
    try:
        return _DECODER.decode(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise VGGymError(f"{path} is not JSON ({error}); name a file with one object per line .jsonl") from error


def _objects(path: Path, name: str, items: Any) -> list[dict[str, Any]]:
    if not isinstance(items, list):
        raise VGGymError(f'{path}: "{name}" is not a list')
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict) or not isinstance(item.get("id"), (int, str)):
            raise VGGymError(f'{path}: number {number} of "{name}" is not an object with an "id"')
    return items


def _row(annotation: dict[str, Any], image: dict[str, Any], category: Any, whole: dict[str, bool]) -> dict[str, Any]:
    """Return the fields of a row without its expression; ids of a kind only if all of them are ``whole`` numbers."""
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
    optional: dict[str, Any] = {
        field: annotation[field] for field in ("frame", "box_format", "kind", "ref_id") if field in annotation
    }
    return {field: value for field, value in {**row, **optional}.items() if value is not None}
