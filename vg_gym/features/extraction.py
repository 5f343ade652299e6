"""Extraction of a feature store, shard by shard, for ``vg-gym features`` and for the cache of the environment.

First the texts are embedded. Then each shard of images is encoded, and the score maps of its queries are computed. This
process or workers (:mod:`vg_gym.features.workers`) make the shards in any order and write each one when it is complete.
Existing shards are therefore always valid, and a second call makes the missing ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.errors import CannotWrite, VGGymError
from vg_gym.features.manifest import Keys, Manifest
from vg_gym.features.store import FeatureStore
from vg_gym.features.workers import Load, image_worker, text_worker
from vg_gym.language.parsing import PHRASE_RULES
from vg_gym.runtime.command_stages import label
from vg_gym.runtime.runners import Factory, LocalRunner, Runner
from vg_gym.storage.files import PART, make_folder
from vg_gym.storage.lazy_sequence import LazySequence
from vg_gym.types import ImageRef, Query


def begin(
    path: str | Path, queries: Sequence[Query], clip: ClipEncoder, phrases: bool = False, tokens: bool = False,
    shard: int = 256, load: Load | None = None, **about: Any,
) -> Extraction:  # fmt: skip
    """Begin a store or resume an existing one, without computing features yet.

    Args:
        path: folder of the store.
        queries: queries whose features the store contains.
        clip: the encoder.
        phrases: also make score maps of noun phrases.
        tokens: also encode the tokens of expressions.
        shard: number of images in a shard, which is encoded and written as a whole.
        load: function with which workers load the encoder; by default they receive this one.
        **about: further fields of the manifest: ``dataset``, ``root``, ``splits``, ``command``.

    Raises:
        VGGymError: the folder contains something else, or features of other queries or another CLIP.
    """
    if not queries or shard < 1:
        raise VGGymError(
            f"a feature store needs queries and shards of at least 1 image, got {len(queries)} and {shard}"
        )
    path = Path(path)
    keys, first = Keys.of(tqdm(queries, desc="queries", unit="query", delay=2), phrases)
    manifest = Manifest(
        clip.name, clip.fingerprint, clip.grid, clip.dim, phrases, clip.num_tokens if tokens else 0,
        len(keys.images), len(keys.texts), keys.expressions, len(keys.queries), shard,
        keys.digest, clip.device.type, datetime.now(UTC).isoformat(timespec="seconds"),
        phrase_rules=PHRASE_RULES, **about,
    )  # fmt: skip
    if (path / "manifest.json").exists():
        _check_same(path, Manifest.load(path), manifest)
        if not Keys.are_in(path):
            keys.save(path)  # the previous run was killed at its beginning
    else:
        _create(path, keys, manifest)
    images = LazySequence(len(first), lambda row: queries[int(first[row])].image)
    return Extraction(FeatureStore(path), images, load or partial(_same, clip))


def build(
    path: str | Path, queries: Sequence[Query], clip: ClipEncoder, phrases: bool = False, tokens: bool = False,
    shard: int = 256, runner: Runner | None = None, progress: bool = True,
) -> FeatureStore:  # fmt: skip
    """Make the store of some queries, or its missing shards.

    Args:
        path: folder of the store.
        queries: queries whose features the store contains.
        clip: the encoder.
        phrases: also make score maps of noun phrases.
        tokens: also encode the tokens of expressions.
        shard: number of images in a shard, which is encoded and written as a whole.
        runner: runner of the work; by default this process.
        progress: show a progress bar.

    Raises:
        VGGymError: the folder contains something else, the disk is too small, or an image cannot be read.
    """
    return begin(path, queries, clip, phrases, tokens, shard).run(runner, progress)


def _same(clip: ClipEncoder) -> ClipEncoder:
    return clip


def _check_same(path: Path, existing: Manifest, requested: Manifest) -> None:
    if existing.fingerprint != requested.fingerprint:
        clips = (f"{m.clip} ({m.fingerprint[:12]})" for m in (existing, requested))
        raise VGGymError(f"{path} holds features of clip {' and not of '.join(clips)}; name another folder")
    if existing.stale_phrases:
        raise VGGymError(f"{path} was begun with the noun phrases of another version of vg_gym; name another folder")
    if existing.keys != requested.keys and existing.phrases == requested.phrases:
        sets = (
            f"{m.queries:,} queries of {m.images:,} images {m.dataset} {','.join(m.splits)}"
            for m in (existing, requested)
        )
        raise VGGymError(f"{path} holds features of {' and not of the '.join(sets)}; name another folder")
    for name in ("phrases", "tokens", "shard", "device"):
        old, new = getattr(existing, name), getattr(requested, name)
        if old != new:
            raise VGGymError(f"{path} was begun with {name} {old}, not {new}; use the same, or name another folder")


def _create(path: Path, keys: Keys, manifest: Manifest) -> None:
    make_folder(path)
    strange = [file.name for file in path.iterdir() if file.suffix != PART]
    if strange:
        raise VGGymError(f"{path} is not a feature store, and not empty: {strange[0]}; name another folder")
    manifest.save(path)
    keys.save(path)


@dataclass(frozen=True)
class Extraction:
    """The remaining work for a store."""

    store: FeatureStore
    """The store, which may lack shards."""
    images: Sequence[ImageRef]
    """Images of the store's rows, a lazy sequence."""
    load: Load
    """Function with which a worker loads the encoder."""

    def work(self, *names: str) -> list[int]:
        """Return the numbers of the shards that at least one of these arrays lacks."""
        arrays = self.store.arrays
        return sorted({number for name in names if name in arrays for number in arrays[name].missing()})

    def missing_bytes(self) -> int:
        """Return the total size of the missing shards in bytes."""
        return sum(array.file_size(number) for array in self.store.arrays.values() for number in array.missing())

    def summary(self) -> str:
        """Return a readable summary of the arrays and their sizes."""
        m, arrays = self.store.manifest, self.store.arrays
        sizes = {name: sum(map(array.file_size, range(len(array.sizes)))) for name, array in arrays.items()}
        lines = [
            f"{self.store.path}: {m.images:,} images, {m.expressions:,} distinct expressions, {m.queries:,} queries"
        ]
        for name, array in arrays.items():
            shape = f"{array.shape[0]:,} x {' x '.join(map(str, array.row_shape))}"
            lines.append(f"  {name:8}{shape:>28} {array.dtype}  {size_of(sizes[name]):>9}")
        missing, free = self.missing_bytes(), shutil.disk_usage(self.store.path).free
        lines.append(
            f"  {size_of(sum(sizes.values()))} in all, {size_of(missing)} to make, {size_of(free)} free on the disk"
        )
        return "\n".join(lines)

    def run(self, runner: Runner | None = None, progress: bool = True) -> FeatureStore:
        """Make the missing shards.

        Args:
            runner: runner of the work; by default this process.
            progress: show a progress bar.

        Raises:
            CannotWrite: the disk is too small.
            VGGymError: an image cannot be read; the finished shards remain.
        """
        missing, free = self.missing_bytes(), shutil.disk_usage(self.store.path).free
        if missing > free:
            raise CannotWrite(
                f"{self.store.path} needs {size_of(missing)} more, and {size_of(free)} are free there; "
                "free some space or name another folder"
            )
        store, runner = self.store, runner or LocalRunner()
        for array in store.arrays.values():
            array.clean()
        texts = self.work("text", "tokens")
        self._make(runner, partial(text_worker, store.path, self.load), texts, texts, "text", progress)
        numbers = self.work("dense", "maps")
        items = LazySequence(len(numbers), lambda at: (numbers[at], self._images_of(numbers[at])))
        self._make(runner, partial(image_worker, store.path, self.load), items, numbers, "dense", progress)
        return FeatureStore.open(store.path)

    def _images_of(self, shard: int) -> list[ImageRef]:
        first, last = self.store.arrays["dense"].span(shard)
        return [self.images[row] for row in range(first, last)]

    def _make(
        self, runner: Runner, factory: Factory, items: Sequence[Any], numbers: list[int], name: str, progress: bool
    ) -> None:
        sizes = self.store.arrays[name].sizes
        done = sum(sizes) - sum(sizes[number] for number in numbers)
        what = "images" if name == "dense" else "texts"
        with tqdm(
            desc=label(what), total=sum(sizes), initial=done, unit=what[:-1], disable=not (progress and items)
        ) as bar:
            for _, number in runner.map(factory, items):
                bar.update(sizes[number])


def size_of(count: int) -> str:
    """Return a number of bytes in readable units.

    >>> size_of(1_290_000_000)
    '1.29 GB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
