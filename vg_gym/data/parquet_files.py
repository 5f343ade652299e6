"""The parquet files of a split: which they are, on disk or on the hub, whether all are there, and their columns."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vg_gym.errors import VGGymError, importing

ALIASES = {"val": ("val", "validation", "dev"), "validation": ("validation", "val", "dev")}
"""Splits that go by several names."""
SHARD = re.compile(r"^(?:(?P<split>.*?)[-_.])??(?P<word>part|shard|data|chunk|file)?[-_]?(?P<number>\d+)"
                   r"(?:-of-(?P<count>\d+))?(?:-[0-9a-f]{8,})?$")  # fmt: skip
"""Stem of the name of a file that is one of several: ``test-00000-of-00002``, ``0000``, ``part-0``."""


def parquet_package() -> Any:
    """``pyarrow.parquet``.

    Raises:
        VGGymError: it is not installed.
    """
    with importing("data sets of parquet files", "pyarrow", "foundation"):
        import pyarrow.parquet
    return pyarrow.parquet


def split_files(folder: Path, split: str, configuration: str | None = None) -> list[Path]:
    """The files of a split: ``test-00000-of-00002.parquet``, ``test.parquet``, or in a folder ``test``, sorted.

    Args:
        folder: with the files, or with folders of them, each of which is a configuration.
        split: its name.
        configuration: name of one; needed where several have the split.

    Raises:
        VGGymError: there are none (names the splits that there are), several configurations have the split, or one of
            its files is missing.
    """
    files = [file for file in sorted(folder.rglob("*.parquet")) if not _hidden(file.relative_to(folder))]
    if not files:
        raise VGGymError(f"no parquet files in {folder}; give the folder that holds them")
    known: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        name, home = _split_and_configuration(file.relative_to(folder))
        known.setdefault(home, {}).setdefault(name, []).append(file)
    if configuration is not None and configuration not in known:
        raise VGGymError(f"{folder} has no configuration {configuration!r}; it has {_listed(known)}")
    chosen = known if configuration is None else {configuration: known[configuration]}
    for name in ALIASES.get(split, (split,)):
        if homes := [home for home in chosen if name in chosen[home]]:
            return _complete(chosen[_only(folder, split, homes, chosen)][name])
    splits = dict.fromkeys(name for names in chosen.values() for name in names)
    raise VGGymError(f"{folder} has no split {split!r}; it has {', '.join(splits)}")


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _split_and_configuration(path: Path) -> tuple[str, str]:
    """The split of a file and the folder that tells its configuration; both as the hub reads names."""
    inside, shard = list(path.parts[:-1]), SHARD.match(path.stem)
    split = (shard["split"] or "") if shard else path.stem
    if inside and (not split or inside[-1] == split):
        split = inside.pop()
    return split or path.stem, "/".join(inside)


def _listed(configurations: Iterable[str]) -> str:
    return ", ".join(name or "(none)" for name in sorted(configurations))


def _only(folder: Path, split: str, homes: Sequence[str], known: Mapping[str, Any]) -> str:
    """The one configuration that has a split; a warning where others have not.

    Raises:
        VGGymError: several have it.
    """
    if len(homes) > 1:
        raise VGGymError(
            f"{folder} has several configurations with a split {split!r}: {_listed(homes)}; they are different data "
            f"sets: say which by dataset_options.configuration={homes[-1]}"
        )
    if len(known) > 1:
        warnings.warn(
            f"{folder} has the configurations {_listed(known)}; the split {split!r} is of {_listed(homes)}, the only "
            f"one that has it (dataset_options.configuration={homes[0]} says so)",
            stacklevel=4,
        )
    return homes[0]


def _complete(files: list[Path]) -> list[Path]:
    """The files of a split, in the order of their numbers.

    Raises:
        VGGymError: one is missing, or two have one number; names it.
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
            raise VGGymError(f"{file} and {other} hold the same part of one split; move the one away that is not meant")
        numbers[number] = file
        counts.add(int(shard["count"]) if shard and shard["count"] else None)
    if len(counts) > 1:
        raise VGGymError(f"{files[0]} and {files[-1]} are of different uploads of one split; move the old files away")
    least, count = min(numbers), counts.pop()
    if count is None and least > 1:  # years, or the like
        return [numbers[number] for number in sorted(numbers)]
    first = least if count is None else int(0 not in numbers and count in numbers)
    count = max(numbers) + 1 - first if count is None else count
    for number in range(first, first + count):
        if number not in numbers:
            raise VGGymError(
                f"{files[0].parent} lacks part {number} of a split in {count} parts, beside {files[0].name}; fetch the "
                "missing file, else its rows would be left out"
            )
    return [numbers[number] for number in sorted(numbers)]


def columns_of(files: Sequence[Path]) -> list[str]:
    """Names of the columns that the files have.

    Raises:
        VGGymError: one cannot be read, or has other columns than the first; names it.
    """
    first = _schema(files[0])
    for file in files[1:]:
        names = _schema(file)
        if different := sorted(set(first) ^ set(names)):
            raise VGGymError(
                f"{file} and {files[0]} have different columns: only one has {', '.join(different)}; they are not of "
                "one split"
            )
    return first


def _schema(file: Path) -> list[str]:
    with _readable(file):
        return parquet_package().read_schema(file).names


class _readable:
    """Turns what pyarrow raises into an error that names the file."""

    def __init__(self, file: Path):
        self.file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import pyarrow

        if isinstance(error, (OSError, pyarrow.ArrowException)):
            reason = " ".join(str(error).split())[:200]
            raise VGGymError(f"cannot read {self.file} ({reason}); fetch this file again") from error


def read_table(files: Sequence[Path], names: Sequence[str]) -> Any:
    """Columns of all files together, as Arrow holds them; images are not among them.

    Raises:
        VGGymError: a file is damaged, or a column is of types that do not go together.
    """
    import pyarrow

    tables = []
    for file in files:
        with _readable(file):
            tables.append(parquet_package().read_table(file, columns=list(names)))
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pyarrow.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise VGGymError(
            f"the columns of {files[0]} and of the files beside it do not go together: {reason}"
        ) from error


def fetch(repository: str, split: str, revision: str | None = None) -> Path:
    """The parquet files of a split of a data set on the hub, fetched once.

    Args:
        repository: ``ORG/NAME``.
        split: name of the split.
        revision: commit, tag or branch; default: the main one.

    Raises:
        VGGymError: huggingface_hub is missing, the hub cannot be reached, or has no such data set.
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
        reason = " ".join(str(error).split())[:200]
        raise VGGymError(
            f"no data set {repository!r} from the hub: {reason}. Without hub access give a folder of its parquet "
            "files: hub:/path/to/folder"
        ) from error
