"""Cells of parquet files: texts, boxes and ids, whatever a publisher writes them as.

What is not clearly a text, a box or an id is none: a reader leaves it out and says so, and never guesses.
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
"""A whole number that 64 bits hold, as text."""


def texts_of(value: Any) -> list[str]:
    """The expressions of a row, with an empty one for each that is no text.

    Args:
        value: a text, a list of texts, such a list written as text, a list of structs with a text ``sent`` or ``raw``,
            or a struct of such lists.
    """
    if isinstance(value, dict) and isinstance(inside := value.get("sent") or value.get("raw"), list):
        value = inside
    if isinstance(value, str) and value.lstrip().startswith(("['", '["')):
        value = _literal(value)
    return [_text(part) for part in (value if isinstance(value, list) else [value])]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def _text(part: Any) -> str:
    part = (part.get("sent") or part.get("raw")) if isinstance(part, dict) else part
    if isinstance(part, bytes):
        part = part.decode("utf-8", "replace")
    return part.strip() if isinstance(part, str) else ""


def box_of(value: Any) -> list[float] | None:
    """Four finite numbers; None where there are not.

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


def has_box(column: Any) -> np.ndarray:
    """Booleans (N,): which cells of an Arrow array are boxes, as :func:`box_of` says."""
    import pyarrow
    from pyarrow import compute, types

    kind = column.type
    listed = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    if not listed or not (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)):
        return np.fromiter((box_of(value) is not None for value in column.to_pylist()), bool, len(column))
    four = np.asarray(compute.fill_null(compute.equal(compute.list_value_length(column), 4), False))
    sides = column.filter(pyarrow.array(four)).flatten().cast(pyarrow.float64())
    finite = np.isfinite(sides.to_numpy(zero_copy_only=False)).reshape(-1, 4).all(axis=1)
    four[four] = finite
    return four


def whole_numbers(values: Iterable[Any]) -> np.ndarray | None:
    """Ids (N,) int64 that are whole numbers, or texts of them; None where one is not, or two become one."""
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
    """Numbers (N,) int64: the ids where all are whole numbers, else in the order in which they first appear.

    A row without an id has a number of its own.

    >>> numbered(["7", "8"]).tolist(), numbered(["7", "x", None, "7", None]).tolist()
    ([7, 8], [0, 1, 2, 0, 4])
    """
    if (whole := whole_numbers(values)) is not None:
        return whole
    first: dict[str, int] = {}
    rows = (row if value is None else first.setdefault(str(value), row) for row, value in enumerate(values))
    return np.fromiter(rows, np.int64, len(values))
