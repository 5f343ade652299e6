"""Cells of parquet files: texts, boxes and ids in the forms that publishers use.

A value that is not clearly a text, a box or an id is not guessed: readers leave it out with a warning.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

WHOLE = re.compile(r"-?\d{1,18}")
"""Text of a whole number that fits into 64 bits."""
WRITTEN_LIST = re.compile(r"""\s*[\[(]\s*(?:\{\s*)?['"].*[\])]\s*$""", re.DOTALL)
"""Text of a list or tuple of texts or structs."""
BETWEEN_TEXTS = re.compile(r"""(['"])\s+(['"])""")
"""Space between two texts in a list that NumPy wrote without commas."""


def texts_of(value: Any) -> list[str]:
    """Return the expressions of a row; a value that is not a text becomes an empty one.

    Args:
        value: a text, a list of texts, such a list written as text (by JSON, Python or NumPy), a list of structs with
            a text ``sent`` or ``raw``, or a struct of such lists.
    """
    if isinstance(value, dict) and isinstance(inside := value.get("sent") or value.get("raw"), list):
        value = inside
    if isinstance(value, str) and WRITTEN_LIST.match(value):
        value = _literal(value)
    return [_text(part) for part in (value if isinstance(value, (list, tuple)) else [value])]


def _literal(text: str) -> Any:
    """Return a list that is written as JSON, Python or NumPy writes it; None if it cannot be read."""
    if (content := _json(text)) is not None:
        return content
    try:
        return ast.literal_eval(BETWEEN_TEXTS.sub(r"\1, \2", text.strip()))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def _text(part: Any) -> str:
    part = (part.get("sent") or part.get("raw")) if isinstance(part, dict) else part
    if isinstance(part, bytes):
        part = part.decode("utf-8", "replace")
    return part.strip() if isinstance(part, str) else ""


def box_of(value: Any) -> list[float] | None:
    """Return the four numbers of a box, or None unless they are four finite numbers.

    >>> box_of([[1, 2, 3, 4]]), box_of("[1, 2, 3, 4]"), box_of([1, 2, 3]), box_of([1, 2, 3, True])
    ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], None, None)
    """
    if isinstance(value, str):
        value = _json(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if not isinstance(value, list) or len(value) != 4:
        return None
    sides = [_number(side) for side in value]
    return sides if all(map(math.isfinite, sides)) else None


def one_box(value: Any) -> list[list[float]] | None:
    """Return the box of a cell as a list of one box; None unless it is four finite numbers."""
    box = box_of(value)
    return None if box is None else [box]


def boxes_of(value: Any) -> list[list[float]] | None:
    """Return the boxes of a cell without repetitions, or None unless it is a list of four finite numbers each.

    >>> boxes_of([]), boxes_of("[[1, 2, 3, 4]]"), boxes_of([[1, 2, 3, 4], [1, 2, 3]]), boxes_of([1, 2, 3, 4])
    ([], [[1.0, 2.0, 3.0, 4.0]], None, None)
    """
    if isinstance(value, str):
        value = _json(value)
    if not isinstance(value, list):
        return None
    boxes = [box_of(box) if isinstance(box, list) else None for box in value]
    return None if None in boxes else [box for i, box in enumerate(boxes) if box and box not in boxes[:i]]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def whole_numbers(values: Iterable[Any]) -> np.ndarray | None:
    """Convert ids, whole numbers or their texts, to int64 (N,); None if one is neither, or if two become equal."""
    values = list(values)
    numbers = [_whole(value) for value in values]
    if None in numbers or len(set(numbers)) != len(set(values)):
        return None
    return np.array(numbers, np.int64)


def _whole(value: Any) -> int | None:
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)) or not WHOLE.fullmatch(str(value)):
        return None
    return int(value)


def numbered(values: Sequence[Any]) -> np.ndarray:
    """Return the ids as int64 (N,) if all are whole numbers, otherwise numbers in order of their first occurrence.

    A row without an id gets its own number.

    >>> numbered(["7", "8"]).tolist(), numbered(["7", "x", None, "7", None]).tolist()
    ([7, 8], [0, 1, 2, 0, 4])
    """
    if (whole := whole_numbers(values)) is not None:
        return whole
    first: dict[str, int] = {}
    rows = (row if value is None else first.setdefault(str(value), row) for row, value in enumerate(values))
    return np.fromiter(rows, np.int64, len(values))
