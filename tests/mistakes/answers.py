"""Answers to mistakes: what a command or a program prints, and what it leaves on the disk."""

from __future__ import annotations

import os
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from warnings import catch_warnings, simplefilter

from tests.mistakes.table import Mistake
from vg_gym.cli.entry import main

OWN_MODULES = ("broken_method",)
"""Modules of :func:`tests.mistakes.table.make_files`, which are imported again from each folder."""


@dataclass(frozen=True)
class Answer:
    """Answer to a mistake."""

    status: int
    """Exit status of a command; 1 for a program that raised an error."""
    text: str
    """Last line of the error output, or the error of a program."""
    printed: str
    """Everything that was printed."""
    left: tuple[str, ...]
    """Names of files and folders that it left."""

    def lacks(self, mistake: Mistake) -> list[str]:
        """Return what is wrong with the answer; an empty list if nothing is."""
        status = 1 if isinstance(mistake.typed, str) else 2
        return [
            *(f"lacks {words!r}" for words in mistake.says if words not in self.text),
            *(f"prints {words!r}" for words in mistake.silent if words in self.printed),
            *([f"exit status {self.status}"] if self.status != status else []),
            *([f"leaves {', '.join(self.left)}"] if self.left and not mistake.leaves_files else []),
        ]


def answer_of(mistake: Mistake, folder: Path) -> Answer:
    """Make a mistake in a folder with :func:`tests.mistakes.table.make_files`."""
    before, path, printed, errors = _files(folder), [*sys.path], StringIO(), StringIO()
    for name in OWN_MODULES:
        sys.modules.pop(name, None)
    try:
        with chdir(folder), redirect_stdout(printed), redirect_stderr(errors), catch_warnings():
            simplefilter("default")  # a warning is not an error for users
            status = _program(mistake.typed) if isinstance(mistake.typed, str) else _command(mistake.typed)
    finally:
        sys.path[:] = path
    lines = [line for line in errors.getvalue().splitlines() if line.strip()]
    left = sorted(name for name in _files(folder) - before if "__pycache__" not in name)
    return Answer(status, lines[-1] if lines else "", printed.getvalue() + errors.getvalue(), tuple(left))


def _command(words: tuple[str, ...]) -> int:
    try:
        main(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except Exception as error:  # a traceback is the wrong answer to a mistake, and is recorded
        print(f"Traceback: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _program(code: str) -> int:
    try:
        exec(code, {})
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _files(folder: Path) -> set[str]:
    return {os.fspath(path.relative_to(folder)) for path in folder.rglob("*")}
