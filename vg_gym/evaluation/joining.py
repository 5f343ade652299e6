"""Matching of recorded answers with queries. The strongest name that an answer has decides."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vg_gym.data.images import FileImage
from vg_gym.data.refcoco import without_suffix
from vg_gym.errors import VGGymError
from vg_gym.types import ImageRef, Sample

Row = dict[str, Any]
"""One answer of a file."""
IDS = ("sent_id", "ref_id", "ann_id", "image_id")
"""Names of ids."""
LEVELS = (("key", "sent_id"), ("ref_id", "ann_id"), ("image", "image_id"))
"""Names of a query, strongest first; names of one level are equally strong."""
Parts = tuple[str, ...]
"""Folders and base name of a path."""
ANSWERS_IN_MESSAGE = 3
"""Number of answers or queries that a message names."""


@dataclass
class Joined:
    """Matches of answers and queries, and warnings."""

    partners: dict[str, list[int]]
    """Key of a query -> numbers of its rows; only data with empty or multiple targets has several."""
    counts: dict[str, int]
    """Numbers of ``answers``, ``answers_without_query`` and ``queries_without_answer``."""
    remarks: list[str] = field(default_factory=list)
    """Texts of the warning."""


def join(path: str, rows: Sequence[Row], samples: Sequence[Sample], sets: bool = False) -> Joined:
    """Find the query of every answer, and warn of everything that is uncertain.

    Args:
        path: path of the file, for messages.
        rows: answers that :func:`vg_gym.evaluation.recorded.read_rows` returned.
        samples: samples of the queries, with their ids.
        sets: whether several rows of a query are one answer of several boxes.

    Raises:
        VGGymError: a query has different answers without scores that rank them, and only one counts.
    """
    questions = _Questions(rows, samples)
    matches = [questions.match(row) for row in rows]
    numbers: dict[int, list[int]] = defaultdict(list)
    for number, match in enumerate(matches):
        for index in match.queries:
            numbers[index].append(number)
    keys = questions.keys
    chosen = _Chosen(path, rows, keys)
    choose = chosen.all_of if sets else chosen.of
    partners = {keys[index]: choose(index, several) for index, several in numbers.items()}
    lost = [number for number, match in enumerate(matches) if not match.queries]
    without = [key for key in keys if key not in partners]
    counts = {"answers": len(rows), "answers_without_query": len(lost), "queries_without_answer": len(without)}
    joined = Joined(partners, counts, chosen.remarks())
    if lost or without:
        joined.remarks.insert(0, _of_lost(rows, matches, lost, without, len(keys)))
    joined.remarks += _of_matches(rows, matches) + questions.remarks()
    if joined.remarks:
        warnings.warn(f"{path}: {'. '.join(joined.remarks)}", stacklevel=3)
    return joined


@dataclass
class _Match:
    """Queries that a row answers."""

    queries: set[int]
    """Numbers of the queries; empty if the row matches none."""
    reason: str = ""
    """Reason why the row matches no query."""
    conflicts: list[str] = field(default_factory=list)
    """Names in the row that belong to other queries."""
    differs: bool = False
    """True if the queries have the same words but different objects."""


class _Questions:
    """Index of queries by all names that rows use."""

    def __init__(self, rows: Sequence[Row], samples: Sequence[Sample]):
        used = {name for row in rows for name in row}
        self.keys: list[str] = []
        self._words: list[str] = []
        self._images: list[str] = []
        self._objects: list[int] = []
        pictures: dict[str, ImageRef] = {}
        self._by_name: dict[str, dict[Any, set[int]]] = {name: defaultdict(set) for name in ("key", "image", *IDS)}
        for index, sample in enumerate(samples):
            query = sample.query
            self.keys.append(query.key)
            self._words.append(_plain(query.expression))
            picture = query.image.key
            self._images.append(picture)
            pictures.setdefault(picture, query.image)
            self._objects.append(sample.ann_id)
            for name, value in _names_of(sample, picture):
                if name in used:
                    self._by_name[name][value].add(index)
        self._names = _ImageNames(pictures) if "image" in used else None

    def match(self, row: Row) -> _Match:
        """Return the queries of a row."""
        level = next(level for level in LEVELS if any(name in row for name in level))
        queries, conflicts = self._decide(row, level)
        if not queries:
            names = " and ".join(f"{name} {row[name]!r:.60}" for name in level if name in row)
            return _Match(set(), f"no query has {names}")
        for name in (name for weaker in LEVELS[LEVELS.index(level) + 1 :] for name in weaker if name in row):
            same = self._named(name, row[name])
            conflicts += [name] if same and not same & queries else []
            queries = queries & same or queries
        if "expression" in row:
            words = _plain(row["expression"])
            same = {index for index in queries if self._words[index] == words}
            if not same and level == LEVELS[-1]:
                return _Match(
                    set(), f"nothing of the kind is asked of {level[0]} {row.get('image', row.get('image_id'))!r:.60}"
                )
            conflicts += [] if same else ["expression"]
            queries = same or queries
        return self._checked(queries, conflicts)

    def _decide(self, row: Row, level: tuple[str, ...]) -> tuple[set[int], list[str]]:
        """Return the queries that the names of a level have in common, and the names that disagree."""
        queries: set[int] = set()
        conflicts = []
        for name in (name for name in level if name in row):
            same = self._named(name, row[name])
            conflicts += [name] if queries and same and not same & queries else []
            queries = queries & same or queries or same
        return queries, conflicts

    def _named(self, name: str, value: Any) -> set[int]:
        if name == "image":
            value = self._names.find(value) if self._names else None
        return self._by_name[name].get(value, set())

    def _checked(self, queries: set[int], conflicts: list[str]) -> _Match:
        """Return a match. It may have several queries only if they have the same words and the same image."""
        if len({(self._images[index], self._words[index]) for index in queries}) > 1:
            named = ", ".join(self.keys[index] for index in sorted(queries)[:ANSWERS_IN_MESSAGE])
            return _Match(set(), f"it fits {len(queries)} queries, {named}, ...: give sent_id or the expression")
        return _Match(queries, "", conflicts, len({self._objects[index] for index in queries}) > 1)

    def remarks(self) -> list[str]:
        """Return the warnings about paths of images."""
        if not self._names:
            return []
        about = (
            (self._names.by_base_name, "name images in other folders than the data set, and were joined by base name"),
            (self._names.ambiguous, "match several images, so none is chosen: give the folder too"),
        )
        return [f"{len(paths)} paths {what}, the first {min(paths)}" for paths, what in about if paths]


class _Chosen:
    """Choice of the answer that counts for each query."""

    def __init__(self, path: str, rows: Sequence[Row], keys: Sequence[str]):
        self._path, self._rows, self._keys = path, rows, keys
        self._repeated: list[str] = []
        self._ranked: list[str] = []

    def all_of(self, index: int, numbers: Sequence[int]) -> list[int]:
        """Return the numbers of the rows of query ``index`` that differ."""
        first = {
            f"{_content(self._rows[number])} {self._rows[number].get('score')}": number for number in numbers[::-1]
        }
        self._repeated += [self._keys[index]] if len(first) < len(numbers) else []
        return sorted(first.values())

    def of(self, index: int, numbers: Sequence[int]) -> list[int]:
        """Return the number of the one row that counts for query ``index``.

        Raises:
            VGGymError: rows differ, and no scores rank them.
        """
        answers = {_content(self._rows[number]) for number in numbers}
        if len(numbers) == 1 or len(answers) == 1:
            self._repeated += [self._keys[index]] if len(numbers) > 1 else []
            return [numbers[0]]
        scores = [self._rows[number].get("score") for number in numbers]
        present = [score for score in scores if score is not None]
        if len(present) < len(scores) or present.count(max(present)) > 1:
            places = " and ".join(self._rows[number]["where"] for number in numbers[:ANSWERS_IN_MESSAGE])
            raise VGGymError(
                f"{self._path}: the query {self._keys[index]} has more than one answer, and they differ: {places}; "
                "keep one of them, or give each a score; the highest score counts"
            )
        self._ranked.append(self._keys[index])
        return [numbers[present.index(max(present))]]

    def remarks(self) -> list[str]:
        """Return the warnings about queries with several answers."""
        about = (
            (self._repeated, "have the same answer more than once"),
            (self._ranked, "have several answers, of which the one with the highest score counts"),
        )
        return [f"{len(keys)} queries {what}, the first {keys[0]}" for keys, what in about if keys]


def _content(row: Row) -> str:
    names = ("boxes", "written", "frame", "input_size", "failure")
    return repr([row.get(name) for name in names])


def _names_of(sample: Sample, picture: str) -> list[tuple[str, Any]]:
    """Return all names of a query. In user data the id may be a word, which is the last part of the key."""
    query = sample.query
    word = id_of(query.key.rpartition("/")[2])
    names = [(name, getattr(sample, name)) for name in IDS] + [("key", query.key), ("image", picture)]
    return names if isinstance(word, int) else [*names, ("sent_id", word)]


def _plain(text: str) -> str:
    """Return the words of a text.

    >>> _plain(" The dog, in  Red.")
    'the dog in red'
    """
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split()) or text.strip()


def _of_lost(
    rows: Sequence[Row], matches: Sequence[_Match], lost: Sequence[int], without: Sequence[str], count: int
) -> str:
    named = "; ".join(f"{shown(rows[number])}: {matches[number].reason}" for number in lost[:ANSWERS_IN_MESSAGE])
    first = f", the first {named}" if lost else ""
    query = f", the first {without[0]}" if without else ""
    return (
        f"{len(lost)} of {len(rows)} answers joined no query{first}; {len(without)} of {count} queries have no answer"
        f"{query}, and count as failures"
    )


def _of_matches(rows: Sequence[Row], matches: Sequence[_Match]) -> list[str]:
    remarks = []
    if wrong := [number for number, match in enumerate(matches) if match.conflicts]:
        named = "; ".join(f"{shown(rows[n])}: {', '.join(matches[n].conflicts)}" for n in wrong[:ANSWERS_IN_MESSAGE])
        remarks.append(
            f"{len(wrong)} answers contradict themselves: they also name other queries than the one of their strongest "
            f"name, the first {named}"
        )
    if differs := [number for number, match in enumerate(matches) if match.differs]:
        remarks.append(
            f"{len(differs)} answers are ambiguous: their words describe several objects in one image, and the answer "
            f"counts for all of these; give sent_id; the first {shown(rows[differs[0]])}"
        )
    if flat := [n for n, row in enumerate(rows) if _is_flat(row)]:
        remarks.append(
            f"{len(flat)} boxes have no area as xyxy: left is not below right, or top is not below bottom; if they are "
            f"xywh, say --box-format xywh; the first {shown(rows[flat[0]])}"
        )
    return remarks


def _is_flat(row: Row) -> bool:
    return any(x2 <= x1 or y2 <= y1 for x1, y1, x2, y2 in filter(None, row.get("boxes", ())))


def shown(row: Row) -> str:
    """Return the place of a row and its names of the query, for messages."""
    names = {name: row[name] for name in ("key", *IDS, "image", "expression") if name in row}
    return f"{row['where']} {json.dumps(names, default=str)[:120]}"


def id_of(value: Any) -> int | str:
    """Return an id as an integer if it is a whole number in any notation, else as text.

    >>> id_of("7"), id_of(7.0), id_of("7.0"), id_of("x7")
    (7, 7, 7, 'x7')
    """
    text = str(value).strip()
    whole = text.removesuffix(".0")
    return int(whole) if whole.removeprefix("-").isdecimal() and len(whole) < 20 else text


class _ImageNames:
    """Index of the images of a data set by path. A base name counts only where it is unique.

    Args:
        images: images of the data set by key.
    """

    def __init__(self, images: Mapping[str, ImageRef]):
        self._names: dict[str, dict[str, list[Parts]]] = {}
        self.by_base_name: set[str] = set()
        """Paths that matched only by their unique base name, since their folders are not those of the data set."""
        self.ambiguous: set[str] = set()
        """Paths that match several images equally well, so that none is chosen."""
        for key, image in images.items():
            names = [_parts(key.partition("/")[2] or key)]
            if isinstance(image, FileImage):
                names.append(_parts(os.path.abspath(image.path)))
            self._names.setdefault(names[0][-1], {})[key] = names

    def find(self, path: str) -> str | None:
        """Return the key of the image at a path; None if no image or several images match."""
        parts = _parts(path)
        pictures = self._names.get(parts[-1]) or self._names.get(without_suffix(parts[-1]), {})
        for key, names in pictures.items():
            if parts == names[0] or parts == names[-1]:
                return key
        shared = {key: max(_common(parts, name) for name in names) for key, names in pictures.items()}
        best = [key for key, count in shared.items() if count == max(shared.values())]
        if len(best) != 1:
            self.ambiguous |= {path} if best else set()
            return None
        whole = any(1 < shared[best[0]] in (len(parts), len(name)) for name in pictures[best[0]])
        self.by_base_name |= set() if whole else {path}
        return best[0]


def _parts(path: str) -> Parts:
    r"""Return the parts of a path with slashes or backslashes.

    >>> _parts("./a\\1.png")
    ('a', '1.png')
    """
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")) or ("",)


def _common(a: Parts, b: Parts) -> int:
    """Return the number of parts that two paths with the same base name share, counted from the end."""
    count = 1
    for x, y in zip(reversed(a[:-1]), reversed(b[:-1]), strict=False):
        if x != y:
            break
        count += 1
    return count
