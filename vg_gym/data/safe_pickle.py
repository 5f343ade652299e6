"""An unpickler for untrusted files that accepts only plain containers, strings and numbers.

A pickle is a program: ``pickle.load`` runs any function that it names. This unpickler refuses all names except those of
a few containers, so reading a file can at worst fail.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError, one_line

_ENCODINGS = ("utf-8", "cp1252")
"""Encodings of texts; the second is Latin-1 with quotation marks and dashes in place of control characters."""
_BUILTINS = {"set": set, "frozenset": frozenset, "complex": complex}
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, name): kind for module in ("builtins", "__builtin__") for name, kind in _BUILTINS.items()},
    ("collections", "OrderedDict"): OrderedDict,
}


class _Refused(Exception):
    """The pickle names something that is not a plain container."""


# This is Python's own unpickler, four times slower than the one in C, which allocates memory for as many objects as a
# file announces: 13 bytes allocate 64 GB.
class _PlainUnpickler(pickle._Unpickler):  # type: ignore[name-defined]
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for readers of protocol 2
            return _bytes_maker()
        if name == "bytearray" and module in ("builtins", "__builtin__"):
            return _bytearray_maker()
        raise _Refused(f"{module}.{name}")

    def _decode_string(self, value: bytes) -> str:
        """Decode a ``str`` of Python 2, the bytes of a text, with the first of :data:`_ENCODINGS` that fits."""
        for encoding in _ENCODINGS:
            try:
                return value.decode(encoding)
            except UnicodeDecodeError:
                continue
        return value.decode("latin-1")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a persistent id")


def _bytes_maker():
    # Every call returns a new function: a pickle may set attributes of it, and must not change a shared function.
    def encode(text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise _Refused(f"_codecs.encode to {encoding}")
        return str(text).encode("latin1")

    return encode


def _bytearray_maker():
    def make(content: bytes = b"", encoding: str = "latin1") -> bytearray:
        if not isinstance(content, (bytes, str)):  # a number is a size
            raise _Refused(f"a bytearray of {content!r}")
        return bytearray(content if isinstance(content, bytes) else content.encode(encoding))

    return make


def load_plain_pickle(path: str | Path) -> Any:
    """Read a pickle of plain data without running anything in it.

    Every protocol is supported. A byte string of Python 2 is decoded as UTF-8 or, if that fails, as Latin-1
    or its extension Windows-1252.

    Args:
        path: path of the file.

    Returns:
        The contents: (nested) list, tuple, dict, set, str, bytes, numbers, bool, None.

    Raises:
        VGGymError: the file is missing, damaged or truncated, or it names anything else (the message states it).
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise VGGymError(f"cannot read {path}: {error.strerror}; correct the path or download it again") from error
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="latin1").load()
    except _Refused as error:
        raise VGGymError(
            f"refused to read {path}: it names {error}, and a data file may hold plain containers, strings and numbers "
            "only; get the file from its original source"
        ) from error
    except (Exception, MemoryError) as error:  # the unpickler can fail in any way on garbage
        raise VGGymError(f"{path} is not a readable pickle ({one_line(error)}); download it again") from error
