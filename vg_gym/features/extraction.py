"""Making a feature store, shard by shard: ``vg-gym features``, and what the environment caches for itself.

First the texts are embedded; then each shard of images is encoded, and the score maps of all that is said of them are
made. Shards are made in any order, by this process or by workers, and each is written when it is done; so at any time
what is there is good, and the same command makes what is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vg_gym.clip.crops import resize
from vg_gym.clip.encoder import ClipEncoder, load_clip
from vg_gym.devices import pick_device
from vg_gym.errors import VGGymError
from vg_gym.features.manifest import Keys, Manifest
from vg_gym.features.score_maps import score_maps
from vg_gym.features.store import FeatureStore
from vg_gym.registry import open_dataset
from vg_gym.runners import Factory, LocalRunner, Runner
from vg_gym.types import ImageRef, Query

Load = Callable[[], ClipEncoder]


def queries_of(name: str, root: Path | None, splits: Sequence[str], limit: int | None = None) -> list[Query]:
    """The queries of splits of a data set, split after split.

    Args:
        name: of the data set.
        root: its folder.
        splits: names of splits.
        limit: the first so many images of each; what follows the first expression of one more is not read.
    """
    found = []
    for split in splits:
        dataset = open_dataset(name, split, str(root) if root else None)
        images: set[str] = set()
        for row in tqdm(range(len(dataset)), desc=f"{name}/{split}", unit="expression", mininterval=2):
            query = dataset[row].query
            images.add(query.image.key)
            if limit is not None and len(images) > limit:
                break
            found.append(query)
    return found


def verified(path: Path) -> FeatureStore:
    """Open a finished store and check all its checksums.

    Raises:
        VGGymError: there are damaged shards; names them and the remedy.
    """
    store = FeatureStore.open(path)
    if damaged := store.verify():
        names = " ".join(file.name for file in damaged)
        again = f"`{m}`" if (m := store.manifest.command) else "what makes it"
        raise VGGymError(f"{path} has {len(damaged)} damaged shards: {names}; delete these files and run {again} again")
    return store


def begin(
    path: str | Path, queries: Sequence[Query], clip: ClipEncoder, phrases: bool = False, tokens: bool = False,
    shard: int = 256, load: Load | None = None, **about: Any,
) -> Extraction:  # fmt: skip
    """Begin a store, or go on with the one that is there; nothing is computed yet.

    Args:
        path: its folder.
        queries: what it is to have the features of.
        clip: the encoder.
        phrases: also make score maps of noun phrases.
        tokens: also encode the tokens of expressions.
        shard: images that are encoded, and written, at a time.
        load: how workers get the encoder; default: they are given this one.
        **about: what the manifest says beside: ``dataset``, ``root``, ``splits``, ``command``.

    Raises:
        VGGymError: the folder holds something else, or the features of other things.
    """
    if not queries or shard < 1:
        raise VGGymError(
            f"a feature store needs queries and shards of at least 1 image, got {len(queries)} and {shard}"
        )
    path, keys = Path(path), Keys.of(queries, phrases)
    asked = Manifest(
        clip.name, clip.fingerprint, clip.grid, clip.dim, phrases, clip.num_tokens if tokens else 0,
        len(keys.images), len(keys.texts), len({query.expression for query in queries}), len(keys.queries), shard,
        keys.digest, clip.device.type, datetime.now(timezone.utc).isoformat(timespec="seconds"), **about,
    )  # fmt: skip
    if (path / "manifest.json").exists():
        _check_same(path, Manifest.load(path), asked)
    else:
        _create(path, keys, asked)
    images = {query.image.key: query.image for query in queries}
    return Extraction(FeatureStore(path), [images[key] for key in keys.images], load or partial(_given, clip))


def build(
    path: str | Path, queries: Sequence[Query], clip: ClipEncoder, phrases: bool = False, tokens: bool = False,
    shard: int = 256, runner: Runner | None = None, progress: bool = True,
) -> FeatureStore:  # fmt: skip
    """Make the store of some queries, or what is missing of it.

    Args:
        path: its folder.
        queries: what it is to have the features of.
        clip: the encoder.
        phrases: also make score maps of noun phrases.
        tokens: also encode the tokens of expressions.
        shard: images that are encoded, and written, at a time.
        runner: who does it; default: this process.
        progress: show how far it is.

    Raises:
        VGGymError: the folder holds something else, the disk is too small, or an image cannot be read.
    """
    return begin(path, queries, clip, phrases, tokens, shard).run(runner, progress)


def loader(name: str, device: str = "auto") -> Load:
    """Loads a CLIP by name, in this process and in its workers; ``auto``: on a GPU where this process has one."""
    return partial(load_clip, name, pick_device(device))


def _given(clip: ClipEncoder) -> ClipEncoder:
    return clip


def _check_same(path: Path, there: Manifest, asked: Manifest) -> None:
    if there.fingerprint != asked.fingerprint:
        clips = (f"{m.clip} ({m.fingerprint[:12]})" for m in (there, asked))
        raise VGGymError(f"{path} holds features of clip {' and not of '.join(clips)}; name another folder")
    if there.keys != asked.keys and there.phrases == asked.phrases:
        sets = (
            f"{m.queries:,} queries of {m.images:,} images {m.dataset} {','.join(m.splits)}" for m in (there, asked)
        )
        raise VGGymError(f"{path} holds features of {' and not of the '.join(sets)}; name another folder")
    for name in ("phrases", "tokens", "shard", "device"):
        have, want = getattr(there, name), getattr(asked, name)
        if have != want:
            raise VGGymError(f"{path} was begun with {name} {have}, not {want}; use the same, or name another folder")


def _create(path: Path, keys: Keys, manifest: Manifest) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        # Keys without a manifest are of a store that was killed as it began.
        strange = [
            p.name for p in path.iterdir() if not p.name.startswith(("images.", "texts.", "queries.", "manifest."))
        ]
        if strange:
            raise VGGymError(f"{path} is no feature store, and not empty: {strange[0]}; name another folder")
        keys.save(path)
        manifest.save(path)
    except OSError as error:
        raise VGGymError(f"cannot make a feature store in {path}: {error.strerror}; name another folder") from error


@dataclass(frozen=True)
class Extraction:
    """What is to be done for a store."""

    store: FeatureStore
    images: list[ImageRef]
    """The images of its rows."""
    load: Load
    """Gives a worker the encoder."""

    def work(self, *names: str) -> list[int]:
        """The numbers of shards that at least one of these arrays lacks."""
        arrays = self.store.arrays
        return sorted({number for name in names if name in arrays for number in arrays[name].missing()})

    def missing_bytes(self) -> int:
        """Size of all that is not there yet."""
        return sum(array.file_size(number) for array in self.store.arrays.values() for number in array.missing())

    def summary(self) -> str:
        """What is made and how big it is, for people."""
        m, arrays = self.store.manifest, self.store.arrays
        sizes = {name: sum(map(array.file_size, range(len(array.sizes)))) for name, array in arrays.items()}
        lines = [
            f"{self.store.path}: {m.images:,} images, {m.expressions:,} distinct expressions, {m.queries:,} queries"
        ]
        for name, array in arrays.items():
            shape = f"{array.shape[0]:,} x {' x '.join(map(str, array.row_shape))}"
            lines.append(f"  {name:8}{shape:>28} {array.dtype}  {size_of(sizes[name]):>9}")
        left, free = self.missing_bytes(), shutil.disk_usage(self.store.path).free
        lines.append(
            f"  {size_of(sum(sizes.values()))} in all, {size_of(left)} to make, {size_of(free)} free on the disk"
        )
        return "\n".join(lines)

    def run(self, runner: Runner | None = None, progress: bool = True) -> FeatureStore:
        """Make what is missing.

        Args:
            runner: who makes it; default: this process.
            progress: show how far it is.

        Raises:
            VGGymError: the disk is too small, or an image cannot be read; what was made is kept.
        """
        left, free = self.missing_bytes(), shutil.disk_usage(self.store.path).free
        if left > free:
            raise VGGymError(
                f"{self.store.path} needs {size_of(left)} more, and {size_of(free)} are free there; "
                "make room or name another folder"
            )
        store, runner = self.store, runner or LocalRunner()
        for array in store.arrays.values():
            array.clean()
        texts = self.work("text", "tokens")
        self._make(runner, partial(_text_worker, store.path, self.load), texts, texts, "text", progress)
        numbers = self.work("dense", "maps")
        items = [(number, self.images[slice(*store.arrays["dense"].span(number))]) for number in numbers]
        self._make(runner, partial(_image_worker, store.path, self.load), items, numbers, "dense", progress)
        return FeatureStore.open(store.path)

    def _make(
        self, runner: Runner, factory: Factory, items: Sequence[Any], numbers: list[int], name: str, progress: bool
    ) -> None:
        sizes = self.store.arrays[name].sizes
        done = sum(sizes) - sum(sizes[number] for number in numbers)
        what = "images" if name == "dense" else "texts"
        with tqdm(desc=what, total=sum(sizes), initial=done, unit=what[:-1], disable=not (progress and items)) as bar:
            for _, number in runner.map(factory, items):
                bar.update(sizes[number])


def size_of(count: int) -> str:
    """A number of bytes, for people.

    >>> size_of(1_290_000_000)
    '1.29 GB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _opened(path: Path, load: Load) -> tuple[FeatureStore, ClipEncoder]:
    store, clip = FeatureStore(path), load()
    store.check_clip(clip)
    return store, clip


def _text_worker(path: Path, load: Load) -> Callable[[int], int]:
    """Worker factory; a piece of work is the number of a shard of texts, and returns it."""
    store, clip = _opened(path, load)
    return partial(_make_texts, store, clip)


def _make_texts(store: FeatureStore, clip: ClipEncoder, number: int) -> int:
    texts, text = store.keys.texts, store.arrays["text"]
    if not text.has(number):
        text.write(number, _in_batches(clip, clip.encode_text, texts[slice(*text.span(number))]))
    tokens = store.arrays.get("tokens")
    if tokens is not None and number < len(tokens.sizes) and not tokens.has(number):
        tokens.write(number, _in_batches(clip, clip.encode_tokens, texts[slice(*tokens.span(number))]))
    return number


def _in_batches(clip: ClipEncoder, encode: Callable[[list[str]], np.ndarray], texts: list[str]) -> np.ndarray:
    # On a CPU one at a time: the last bits of an embedding depend on how many are encoded beside it.
    step = 1 if clip.device.type == "cpu" else clip.batch_size
    return np.concatenate([encode(texts[at : at + step]) for at in range(0, len(texts), step)])


def _image_worker(path: Path, load: Load) -> Callable[[tuple[int, list[ImageRef]]], int]:
    """Worker factory; a piece of work is the number of a shard and its images, and returns the number."""
    store, clip = _opened(path, load)
    return partial(_make_images, store, clip)


def _make_images(store: FeatureStore, clip: ClipEncoder, item: tuple[int, list[ImageRef]]) -> int:
    number, images = item
    dense, maps = store.arrays["dense"], store.arrays["maps"]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # as many as this process is to use
        if not dense.has(number):
            dense.write(number, _encode(clip, images, pool))
        if not maps.has(number):
            rows = range(*dense.span(number))
            of_images = pool.map(partial(_maps_of, store, clip), rows, dense.shard(number))
            maps.write(number, np.concatenate([np.stack(found) for found in of_images]))
    return number


def _encode(clip: ClipEncoder, images: Sequence[ImageRef], pool: ThreadPoolExecutor) -> np.ndarray:
    """Dense features (N, g, g, D) float16; a batch is read by threads, then encoded."""
    batch = max(1, clip.batch_size // 4)
    chunks = (images[at : at + batch] for at in range(0, len(images), batch))
    read = (list(pool.map(lambda image: resize(image.array(), clip.image_size), chunk)) for chunk in chunks)
    return np.concatenate([clip.encode_dense(pixels).astype(np.float16) for pixels in read])


def _maps_of(store: FeatureStore, clip: ClipEncoder, row: int, dense: np.ndarray) -> list[np.ndarray]:
    """Score maps of all that is said of an image."""
    expressions = [store.keys.texts[text] for text in store.keys.of_image(row)]
    return score_maps(clip, dense, expressions, store.manifest.phrases, store.encode_text)
