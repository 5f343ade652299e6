"""Sizes of feature stores by CLIP, and speed of opening, reading and playing from a store of RefCOCOg's size.

python benchmarks/feature_store.py [--images 25799] [--queries 95010] [--json out.json]

The store is synthetic: random features of ViT-B/32's shape, in the files that `vg-gym features` writes. "Table" is the
cost of resetting an episode whose image is not in memory: read, conversion and summed-area table.
"""

import argparse
import io
import tempfile
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.data.images import FileImage, to_rgb
from vg_gym.features.glimpses import GLIMPSE
from vg_gym.features.image_tables import ImageTables
from vg_gym.features.manifest import Keys, Manifest
from vg_gym.features.store import FeatureStore
from vg_gym.types import Query

SHAPES = {"refshapes (built in)": (16, 128), "ViT-B-32": (7, 512), "ViT-B-16": (14, 512), "ViT-L-14-336": (24, 768)}
"""CLIP -> cells a side of its dense features, and their width."""


def sizes(images: int, queries: int) -> dict[str, float]:
    """Print gigabytes on disk and in memory, and return them by name."""
    found = {}
    print(f"{images:,} images, {queries:,} expressions        disk     tables in memory   rows in memory")
    for name, (grid, dim) in SHAPES.items():
        disk = images * grid * grid * dim * 2 + queries * (grid * grid * 2 * 2 + dim * 4)
        tables = images * (grid + 1) ** 2 * dim * 4
        rows = queries * 4 * (2 * (grid + 1) ** 2 + 3 * GLIMPSE**2 + dim)
        print(f"{name:40} {disk / 1e9:8.1f} GB {tables / 1e9:15.1f} GB {rows / 1e9:13.1f} GB")
        for what, size in {"disk": disk, "tables": tables, "rows": rows}.items():
            found[f"{name}, {images} images: {what}, GB"] = size / 1e9
    return found


def written(folder: Path, images: int, queries: int) -> FeatureStore:
    """Write a store of random features of ViT-B/32's shape."""
    rng, (grid, dim) = np.random.default_rng(0), SHAPES["ViT-B-32"]
    pairs = np.stack([np.sort(rng.integers(images, size=queries)), np.arange(queries)], axis=1).astype(np.int32)
    texts = [f"the thing number {i} beside the other thing on the left" for i in range(queries)]
    keys = Keys([f"COCO_train2014_{i:012d}" for i in range(images)], texts, pairs)
    keys.save(folder)
    Manifest("random", "random", grid, dim, False, 0, images, queries, queries, queries, 256, keys.digest, "cpu",
             "today").save(folder)  # fmt: skip
    store = FeatureStore(folder)
    for array in store.arrays.values():
        block = rng.normal(size=(max(array.sizes), *array.row_shape)).astype(array.dtype)
        for number, size in enumerate(array.sizes):
            array.write(number, block[:size])
    return store


def timed(name: str, calls: list, unit: str = "ms") -> None:
    """Print the median time of calls."""
    seconds = []
    for call in calls:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    print(f"  {name:60} {1000 * float(np.median(seconds)):10.3f} {unit}")


def main() -> None:
    """Print sizes, then times."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=25_799)
    p.add_argument("--queries", type=int, default=95_010)
    p.add_argument("--json", type=Path, help="file for the sizes")
    given = p.parse_args()
    found = sizes(given.images, given.queries) | sizes(100 * given.images, 100 * given.queries)
    if given.json:
        write_figures(given.json, found)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        written(Path(folder), given.images, given.queries)
        seconds = time.perf_counter() - start
        print(f"written in {seconds:.1f} s, checksums and fsync included; medians, page cache warm:")
        rng = np.random.default_rng(1)
        timed("open", [lambda: FeatureStore.open(folder)] * 5)
        store = FeatureStore.open(folder)
        images = [store.keys.images[i] for i in rng.integers(given.images, size=2000)]
        pairs = [store.keys.queries[i] for i in rng.integers(given.queries, size=2000)]
        store.dense(images[0]), store.maps(images[0], store.keys.texts[0])
        timed("dense features of a random image", [lambda key=key: np.array(store.dense(key)) for key in images])
        encoder: Any = SimpleNamespace(grid=store.manifest.grid, dim=store.manifest.dim, device=torch.device("cpu"))
        tables = ImageTables(encoder, memory=0.1, dense=lambda image: store.dense(image.key))
        files = [FileImage(Path(key), key) for key in images]
        held = [(np.array([tables.hold(file)]), lambda _, file=file: file) for file in files]
        timed("its table, where it is not in memory", [lambda h=h: tables.slots(*h) for h in held])
        names = [(store.keys.images[i], store.keys.texts[t]) for i, t in pairs]
        timed("score maps of a random query", [lambda pair=pair: np.array(store.maps(*pair)) for pair in names])
        timed("text of a random query", [lambda pair=pair: np.array(store.text(pair[1])) for pair in names])
    others()


def others() -> None:
    """Print other costs at scale: decoding a photo, and the memory of a query."""
    noise = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    photo = io.BytesIO()
    Image.fromarray(noise).resize((640, 480)).save(photo, "JPEG", quality=90)
    timed("decode a JPEG of 640 x 480", [lambda: to_rgb(Image.open(io.BytesIO(photo.getvalue())))] * 50)
    tracemalloc.start()
    kept = [
        Query(
            FileImage(Path(f"images/train2014/COCO_train2014_{i:012d}.jpg"), known_size=(640, 480)), f"man {i}", f"{i}"
        )
        for i in range(10_000)
    ]
    print(f"  {'a query of an image on disk':60} {tracemalloc.get_traced_memory()[0] / len(kept):10.0f} bytes")


if __name__ == "__main__":
    run(main)
