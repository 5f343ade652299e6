r"""Reading of users' text files: UTF-8 or UTF-16, with or without a byte order mark; only ``\n`` ends a line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from vg_gym.errors import VGGymError

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark -> encoding; UTF-32's mark begins with UTF-16's and therefore comes first."""


def read_text(path: Path) -> str:
    """Return the text of a file without its byte order mark, with its line ends unchanged.

    Raises:
        VGGymError: the file cannot be read, or has another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}; give an existing file") from error
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise VGGymError(f"{path} is not a text file in UTF-8 ({error}); save it as UTF-8") from error


def lines(text: str) -> Iterator[tuple[int, str]]:
    r"""Yield the number, from 1, and the text of each line that is not blank.

    ``str.splitlines`` also ends lines at U+0085, U+2028 and U+2029, which are legal inside a string of JSON.

    >>> list(lines("a\u2028b\r\n\n c"))
    [(1, 'a\u2028b'), (3, 'c')]
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line := line.strip(" \t\r"):
            yield number, line
