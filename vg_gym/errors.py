"""Errors for users, with one-line messages that name the cause and the remedy."""

from __future__ import annotations

import difflib
import os
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class VGGymError(Exception):
    """Error of the user that the package recognises: bad input, a missing file, an unknown option.

    The message is one line that names the cause and the remedy. Commands print it without a traceback.
    """


class UnknownName(VGGymError, TypeError):
    """Unknown name of a registry entry or an option.

    The class is also a ``TypeError``, like Python's own error for an unknown argument, because libraries that probe for
    options catch that.
    """


class ImageError(VGGymError):
    """Unreadable image: missing, damaged, or of another size than in the annotations."""


class WrongValue(VGGymError, ValueError):
    """Value outside the allowed ones; also a ``ValueError``, as in Gymnasium's own environments."""


class NotJSON(VGGymError, TypeError):
    """Object that cannot be written as JSON; also a ``TypeError``, as in Python's own ``json``."""


class DatasetNotFound(VGGymError):
    """Data set on disk without a folder to read it from."""


class CannotWrite(VGGymError, OSError):
    """Failed write: a full disk, a read-only folder, missing permission, or a file in place of a folder."""


class Interrupted(VGGymError):
    """Ctrl-C or a scheduler's SIGTERM, raised after the state is saved; the message says how to resume."""


class MissingWeights(VGGymError):
    """Published weights that are neither on this machine nor can be fetched."""


class MissingExtra(VGGymError):
    """Missing optional package; the message names the extra that installs it."""


def missing_extra(what: str, package: str, extra: str) -> MissingExtra:
    """Return the error for an optional package that is not installed.

    Args:
        what: name of the feature that needs the package.
        package: name of the package.
        extra: extra of vg_gym that installs the package.

    >>> str(missing_extra("yolo-clip", "ultralytics", "yolo"))
    'yolo-clip needs ultralytics: pip install "vg_gym[yolo]"'
    """
    return MissingExtra(f'{what} needs {package}: pip install "vg_gym[{extra}]"')


@contextmanager
def importing(what: str, package: str, extra: str) -> Iterator[None]:
    """Turn an ``ImportError`` of an optional package into :func:`missing_extra`.

    Args:
        what: name of the feature that needs the package.
        package: name of the package.
        extra: extra of vg_gym that installs the package.

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


CLIP_FLAG = "(vg-gym evaluate, features and ground: --clip)"
"""Remark on the option ``clip``, which some commands take as a flag."""
MAX_REASON_CHARACTERS = 300
"""Largest length of the reason that an error message quotes from another error."""


def one_line(error: BaseException | str) -> str:
    r"""Return the start of an error's message on one line, or its class if the message is empty.

    >>> one_line(ValueError("two\n  lines")), one_line(EOFError())
    ('two lines', 'EOFError')
    """
    return " ".join(str(error).split())[:MAX_REASON_CHARACTERS] or type(error).__name__


DEBUG = "VG_GYM_DEBUG"
"""Environment variable that ``--debug`` sets: errors show their tracebacks, and a failing method ends a run."""
FOREIGN = ("site-packages", "dist-packages")
"""Names of folders whose code is not the user's."""


def is_debugging() -> bool:
    """Return whether errors show their tracebacks."""
    return bool(os.environ.get(DEBUG))


def place_of(error: BaseException) -> str:
    """Return the last line of the user's own code in a traceback, as " (FILE, line N)"; empty if it has none."""
    libraries = (sysconfig.get_path("stdlib"), Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        is_foreign = bool({*FOREIGN} & {*path.parts}) or any(path.is_relative_to(library) for library in libraries)
        if path.suffix == ".py" and not is_foreign:
            return f" ({path.name}, line {frame.lineno})"
    return ""


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownName:
    """Return the error for a name that is not in a table.

    The message contains the unknown name, the nearest known name, and all known names.

    Args:
        what: kind of the name, e.g. ``"grounder"``.
        name: the unknown name.
        known: all names of the table.

    >>> str(unknown("colour", "gren", ["green", "red"]))
    "unknown colour 'gren': did you mean 'green'? known: green, red"
    """
    names = sorted(known)
    return UnknownName(f"unknown {what} {name!r}: {nearest(name, names)}known: {', '.join(names)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question whether a name that is similar to an unknown one is meant; empty without a similar name.

    >>> nearest("gren", ["green", "red"]), nearest("blue", ["green"])
    ("did you mean 'green'? ", '')
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def unknown_split(owner: object, split: str, splits: Iterable[str], more: str = "") -> VGGymError:
    """Return the error for a split that a data set does not have.

    Args:
        owner: name of the data set.
        split: name of the split.
        splits: names of the splits that it has.
        more: end of the message.

    >>> str(unknown_split("refshapes", "tset", ["train", "test"]))
    "refshapes has no split 'tset'; did you mean 'test'? it has train, test"
    """
    names = list(splits)
    return VGGymError(f"{owner} has no split {split!r}; {nearest(split, names)}it has {', '.join(names)}{more}")


def without_scores(name: str, threshold: float) -> VGGymError:
    """Return the error for a threshold of a grounder that gives no scores."""
    return VGGymError(f"{name} gives no scores, so nothing_below={threshold:g} has no meaning; leave it out")
