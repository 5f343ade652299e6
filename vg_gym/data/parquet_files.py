"""The parquet files of a split: search on disk or on the hub, check for completeness, and their columns."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError, importing, one_line, unknown_split

ALIASES = {"val": ("val", "validation", "dev"), "validation": ("validation", "val", "dev")}
"""Split -> its names in different data sets."""
SHARD = re.compile(r"^(?:(?P<split>.*?)[-_.])??(?P<word>part|shard|data|chunk|file)?[-_]?(?P<number>\d+)"
                   r"(?:-of-(?P<count>\d+))?(?:-[0-9a-f]{8,})?$")  # fmt: skip
"""Stem of a file that is one part of a split: ``test-00000-of-00002``, ``0000``, ``part-0``."""


def parquet_package(what: str = "a data set of parquet files") -> Any:
    """Import ``pyarrow.parquet``.

    Args:
        what: name of what needs it, for the message.

    Raises:
        VGGymError: pyarrow is not installed.
    """
    with importing(what, "pyarrow", "foundation"):
        import pyarrow.parquet
    return pyarrow.parquet


def split_files(folder: Path, split: str, configuration: str | None = None) -> list[Path]:
    """Return the sorted files of a split: ``test-00000-of-00002.parquet``, ``test.parquet``, or in a folder ``test``.

    Args:
        folder: folder of the files, or of folders with files, each of which is a configuration.
        split: name of the split.
        configuration: name of the configuration, needed if several have the split.

    Raises:
        VGGymError: all files are missing (the message lists the existing splits), or one of them is, or several
            configurations have the split.
    """
    files = [file for file in sorted(folder.rglob("*.parquet")) if not _hidden(file.relative_to(folder))]
    if not files:
        raise VGGymError(f"no parquet files in {folder}; give the folder that holds them")
    configurations: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        name, home = _split_and_configuration(file.relative_to(folder))
        configurations.setdefault(home, {}).setdefault(name, []).append(file)
    if configuration is not None and configuration not in configurations:
        raise VGGymError(f"{folder} has no configuration {configuration!r}; it has {_listed(configurations)}")
    chosen = configurations if configuration is None else {configuration: configurations[configuration]}
    for name in ALIASES.get(split, (split,)):
        if homes := [home for home in chosen if name in chosen[home]]:
            return _complete(chosen[_only(folder, split, homes, chosen)][name])
    splits = dict.fromkeys(name for names in chosen.values() for name in names)
    raise unknown_split(folder, split, splits)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _split_and_configuration(path: Path) -> tuple[str, str]:
    """Return the split and the configuration of a file, derived from its path as the hub does."""
    inside, shard = list(path.parts[:-1]), SHARD.match(path.stem)
    split = (shard["split"] or "") if shard else path.stem
    if inside and (not split or inside[-1] == split):
        split = inside.pop()
    return split or path.stem, "/".join(inside)


def _listed(configurations: Iterable[str]) -> str:
    return ", ".join(name or "(none)" for name in sorted(configurations))


def _only(folder: Path, split: str, homes: Sequence[str], configurations: Mapping[str, Any]) -> str:
    """Return the only configuration that has a split, and warn if others lack it.

    Raises:
        VGGymError: several configurations have the split.
    """
    if len(homes) > 1:
        raise VGGymError(
            f"{folder} has several configurations with a split {split!r}: {_listed(homes)}; they are different data "
            f"sets: say which by dataset_options.configuration={homes[-1]}"
        )
    if len(configurations) > 1:
        warnings.warn(
            f"{folder} has the configurations {_listed(configurations)}; the split {split!r} is of {_listed(homes)}, "
            f"the only one that has it (dataset_options.configuration={homes[0]} selects it)",
            stacklevel=4,
        )
    return homes[0]


def _complete(files: list[Path]) -> list[Path]:
    """Return the files of a split, sorted by their numbers.

    Raises:
        VGGymError: a file is missing, or two have the same number; the message names it.
    """
    if len(files) == 1 and not ((shard := SHARD.match(files[0].stem)) and shard["count"]):
        return files
    numbers: dict[int, Path] = {}
    counts = set()
    for file in files:
        shard = SHARD.match(file.stem)
        number = int(shard["number"]) if shard else None
        if number is None or number in numbers:
            other = numbers.get(number) if number is not None else next(one for one in files if one != file)
            raise VGGymError(f"{file} and {other} hold the same part of one split; move the wrong one away")
        numbers[number] = file
        counts.add(int(shard["count"]) if shard and shard["count"] else None)
    if len(counts) > 1:
        raise VGGymError(f"{files[0]} and {files[-1]} are of different uploads of one split; move the old files away")
    least, count = min(numbers), counts.pop()
    if count is None and least > 1:  # for example years
        return [numbers[number] for number in sorted(numbers)]
    first = least if count is None else int(0 not in numbers and count in numbers)
    count = max(numbers) + 1 - first if count is None else count
    for number in range(first, first + count):
        if number not in numbers:
            raise VGGymError(
                f"{files[0].parent} lacks part {number} of a split in {count} parts, beside {files[0].name}; fetch the "
                "missing file, since its rows would be left out"
            )
    return [numbers[number] for number in sorted(numbers)]


def columns_of(files: Sequence[Path]) -> list[str]:
    """Return the names of the columns of the files.

    Raises:
        VGGymError: a file cannot be read, or its columns differ from those of the first; the message names it.
    """
    first = _schema(files[0])
    for file in files[1:]:
        names = _schema(file)
        if different := sorted(set(first) ^ set(names)):
            raise VGGymError(
                f"{file} and {files[0]} have different columns: only one has {', '.join(different)}; they do not "
                "belong to one split"
            )
    return first


def _schema(file: Path) -> list[str]:
    with _reading(file) as parquet:
        return parquet.read_schema(file).names


@contextmanager
def _reading(file: Path) -> Iterator[Any]:
    """Yield ``pyarrow.parquet``, and turn its exceptions into an error that names the file."""
    parquet = parquet_package()
    import pyarrow

    try:
        yield parquet
    except (OSError, pyarrow.ArrowException) as error:
        raise VGGymError(f"cannot read {file} ({one_line(error)}); fetch this file again") from error


def read_table(files: Sequence[Path], names: Sequence[str]) -> Any:
    """Read the named columns of all files into one Arrow table.

    Raises:
        VGGymError: a file is damaged, or a column has incompatible types.
    """
    import pyarrow

    tables = []
    for file in files:
        with _reading(file) as parquet:
            tables.append(parquet.read_table(file, columns=list(names)))
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pyarrow.ArrowException as error:
        raise VGGymError(
            f"the columns of {files[0]} and of the files beside it do not go together: {one_line(error)}"
        ) from error


def fetch(repository: str, split: str, revision: str | None = None) -> Path:
    """Fetch the parquet files of a split from the hub once, and return their folder.

    Args:
        repository: ``ORG/NAME``.
        split: name of the split.
        revision: commit, tag or branch; by default the main branch.

    Raises:
        VGGymError: huggingface_hub is missing, the hub cannot be reached, or the data set does not exist.
    """
    with importing(f"hub:{repository}", "huggingface_hub", "foundation"):
        import huggingface_hub
    shapes = ("*{}-*.parquet", "*{}/*.parquet", "*{}.parquet")
    patterns = [shape.format(name) for name in ALIASES.get(split, (split,)) for shape in shapes]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
    except (OSError, ValueError) as error:
        raise VGGymError(
            f"no data set {repository!r} from the hub: {one_line(error)}. Without hub access give a folder of its "
            "parquet files: hub:/path/to/folder"
        ) from error
