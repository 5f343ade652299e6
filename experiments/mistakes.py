"""Make every mistake of ``tests/mistakes/table.py`` and write the answers, one line each.

    PYTHONPATH=$PWD python experiments/mistakes.py --out answers.json

``PYTHONPATH`` chooses the version of vg_gym. Answers that the file already has are kept, so that a run can resume.
``--page BEFORE.json`` writes ``docs/results/mistakes.md`` from the answers of two versions.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mistakes.answers import answer_of
from tests.mistakes.table import MISTAKES, make_files

PAGE = Path(__file__).parents[1] / "docs" / "results" / "mistakes.md"
HEAD = """# Mistakes and their answers

<!-- Written by experiments/mistakes.py -->

    PYTHONPATH=OTHER_VERSION python experiments/mistakes.py --out before.json
    PYTHONPATH=$PWD python experiments/mistakes.py --out after.json --page before.json

*Before* is version 0.2.0 before its commands checked everything first, with `tests/mistakes` copied into it. A ✓ marks
an answer that names the thing and the remedy, comes before anything is computed and leaves no files; `tests/mistakes`
checks that of every mistake.
Before: {before} of {count}. After: {after} of {count}.

| typed | before | after |
|---|---|---|
"""
MAX_CHARACTERS = 160
"""Largest length of an answer on the page."""


def main() -> None:
    """Make the mistakes, write a list of {typed, answer, lacks}, and the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="file of the answers")
    parser.add_argument("--page", type=Path, help="file of the answers of an earlier version")
    options = parser.parse_args()
    answers = json.loads(options.out.read_text()) if options.out.exists() else {}
    os.environ["COLUMNS"] = "80"
    for mistake in (mistake for mistake in MISTAKES if str(mistake) not in answers):
        with TemporaryDirectory() as name:
            make_files(Path(name))
            answer = answer_of(mistake, Path(name))
        answers[str(mistake)] = {"answer": answer.text.replace(name, "."), "lacks": answer.lacks(mistake)}
        options.out.write_text(json.dumps(answers, indent=1))
    if options.page:
        PAGE.write_text(page(json.loads(options.page.read_text()), answers))


def page(before: dict[str, dict], after: dict[str, dict]) -> str:
    """Return the page that compares the answers of two versions."""
    typed = [str(mistake) for mistake in MISTAKES if str(mistake) in before and str(mistake) in after]
    right = [sum(not answers[name]["lacks"] for name in typed) for answers in (before, after)]
    lines = [f"| {_code(name)} | {_cell(before[name])} | {_cell(after[name])} |" for name in typed]
    return HEAD.format(before=right[0], after=right[1], count=len(typed)) + "\n".join(lines) + "\n"


def _cell(answer: dict) -> str:
    text = answer["answer"] if len(answer["answer"]) <= MAX_CHARACTERS else f"{answer['answer'][:MAX_CHARACTERS]} …"
    left = next((f" ({what})" for what in answer["lacks"] if what.startswith("leaves")), "")
    return f"{'' if answer['lacks'] else '✓ '}{_code(text) if text else 'no error'}{left}"


def _code(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return f"`{text}`"


if __name__ == "__main__":
    main()
