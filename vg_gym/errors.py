"""The errors that users see: one line that names the thing and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class VGGymError(Exception):
    """A mistake of the user's that we can name: bad input, a missing file, an unknown option.

    The message is one line that names the thing and the remedy. Command-line scripts print it without a traceback.
    """


class UnknownName(VGGymError, TypeError):
    """A name that is in no table, an option's among them.

    It is a ``TypeError`` too, as Python's own for an unknown argument: libraries that probe for options look for that.
    """


class ImageError(VGGymError):
    """An image that cannot be read: missing, damaged, or not of the size that the annotations say."""


class WrongValue(VGGymError, ValueError):
    """A value that is not one of those allowed; a ``ValueError`` too, as Gymnasium's own environments raise."""


class NotJSON(VGGymError, TypeError):
    """Something that was to be written as JSON and cannot be; a ``TypeError`` too, as of Python's own ``json``."""


class DatasetNotFound(VGGymError):
    """A data set that is read from disk was named, and no place to read it from."""


class CannotWrite(VGGymError, OSError):
    """The system refused to write: a full disk, a folder that is read-only or another's, a file in a folder's place."""


class Interrupted(VGGymError):
    """Ctrl-C or a scheduler's SIGTERM, once what there was is saved; the message says how to go on."""


class MissingExtra(VGGymError):
    """An optional package is not installed; the message names the extra that brings it."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtra:
    """The error for an optional package that is not installed.

    Args:
        what: the thing that needs it.
        package: its name.
        extra: the extra of vg_gym that brings it.

    >>> str(missing_extra("yolo-clip", "ultralytics", "yolo"))
    'yolo-clip needs ultralytics: pip install "vg_gym[yolo]"'
    """
    return MissingExtra(f'{what} needs {package}: pip install "vg_gym[{extra}]"')


@contextmanager
def importing(what: str, package: str, extra: str) -> Iterator[None]:
    """Around imports of an optional package: where they fail, the error is :func:`missing_extra`.

    Args:
        what: the thing that needs it.
        package: its name.
        extra: the extra of vg_gym that brings it.

    Raises:
        VGGymError: the package is not installed.

    >>> with importing("SAM", "segment-anything", "sam"):
    ...     import no_such_module
    Traceback (most recent call last):
    vg_gym.errors.MissingExtra: SAM needs segment-anything: pip install "vg_gym[sam]"
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(what, package, extra) from error


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not in a table.

    Args:
        what: the kind of thing that has the name, e.g. ``"grounder"``.
        name: the unknown name.
        known: all names of the table.

    Returns:
        An error to raise. It names the unknown, suggests the nearest known name, and lists all of them.

    >>> str(unknown("colour", "gren", ["green", "red"]))
    "unknown colour 'gren': did you mean 'green'? known: green, red"
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UnknownName(f"unknown {what} {name!r}: {hint}known: {', '.join(known)}")
