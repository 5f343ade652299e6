"""Memory over time with a million expressions on 100,000 images, for opening, features, training and evaluation.

    python benchmarks/million_rows.py --ray --json million.json

The script generates a user-defined data set (docs/data.md) with a separate file for every image and a different text
for every expression, and a random CLIP of 7 x 7 x 128 with small towers, so that features are fast and their store is a
quarter of that of a ViT-B/32. Each part runs the command of a user in a separate process, whose resident memory is read
five times a second. ``--ray`` repeats features and evaluation with two Ray workers, and compares all bytes.

``--folder`` keeps all files and reuses existing ones; ``--only`` selects parts.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.cli.figures import write_figures

HERE = Path(__file__).resolve().parents[1]
SIDE = 64
"""Side of the images in pixels."""
PER_IMAGE = 10
"""Number of expressions per image."""
LOOKS = 64
"""Number of different images, which the files share."""
PER_FOLDER = 1000
"""Number of image files per folder."""
EVERY = 0.2
"""Seconds between two measurements of memory."""
MARKS = (25, 50, 75)
"""Percentages of a part's time at which memory is reported, in addition to the peak."""
BOUND = 3
"""Limit of the memory of a process in GiB."""
GIB = 2**30
WORDS = (
    ("small", "medium", "large"), ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white"),
    ("circle", "cross", "heart", "star", "square", "ring"), ("left of", "right of", "above", "below"),
)  # fmt: skip
"""Size, colour, shape and relation of an expression."""
CLIP = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 56, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 16, "width": 32, "heads": 2, "layers": 1},
}
"""Architecture of the random CLIP."""
OPEN = """
import time
from vg_gym.registry import open_dataset
start = time.perf_counter()
data = open_dataset({path!r}, "train", root={root!r})
first, last = data[0], data[len(data) - 1]
print(f"opened {{time.perf_counter() - start:.2f}} s")
"""


def generate(folder: Path, rows: int) -> Path:
    """Write images and ``rows.jsonl``, row by row: one image in 200 is of val, one of test, the others of train."""
    path, rng = folder / "rows.jsonl", np.random.default_rng(0)
    if path.exists():
        return path
    looks = [_picture(rng) for _ in range(LOOKS)]
    part = path.with_suffix(".part")
    with part.open("w") as file:
        file.write(json.dumps({"defaults": {"width": SIDE, "height": SIDE}}) + "\n")
        for number in range(-(-rows // PER_IMAGE)):
            name = f"images/{number // PER_FOLDER:04d}/{number:07d}.png"
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(looks[number % LOOKS])
            split = {0: "val", 1: "test"}.get(number % 200, "train")
            for k in range(min(PER_IMAGE, rows - number * PER_IMAGE)):
                file.write(json.dumps(_row(rng, number * PER_IMAGE + k, name, split)) + "\n")
    part.replace(path)
    return path


def _picture(rng: np.random.Generator) -> bytes:
    buffer, coarse = io.BytesIO(), rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((SIDE, SIDE)).save(buffer, "PNG")
    return buffer.getvalue()


def _row(rng: np.random.Generator, number: int, image: str, split: str) -> dict[str, Any]:
    draws = rng.random(11)
    words = [choices[int(draw * len(choices))] for choices, draw in zip([*WORDS, *WORDS[:3]], draws, strict=False)]
    size, color, shape, relation, *other = words
    low = draws[7:9] * 0.6 * SIDE
    box = np.concatenate([low, low + 8 + draws[9:11] * 16]).round(1)
    text = f"the {size} {color} {shape} {relation} the {' '.join(other)} {number}"
    return {"image": image, "expression": text, "box": box.tolist(), "split": split, "category": shape}


def write_clip(folder: Path) -> Path:
    """Write the random CLIP as a folder for ``clip=``."""
    if not (folder / "open_clip_model.safetensors").exists():
        import open_clip
        import torch

        from vg_gym.clip.encoder import ClipEncoder
        from vg_gym.clip.finetuning.model import save_model
        from vg_gym.clip.tokenizer import WordTokenizer
        from vg_gym.data.worlds.refshapes.expressions import vocabulary

        torch.manual_seed(0)
        tokenizer = WordTokenizer(vocabulary(), 16)
        config = {**CLIP, "text_cfg": {**CLIP["text_cfg"], "vocab_size": tokenizer.vocab_size}}
        model = open_clip.model.CLIP(**config)
        look = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
        open_clip.factory.set_model_preprocess_cfg(model, look)
        save_model(ClipEncoder("random", model, tokenizer, dense="tokens", config=config), folder)
    return folder


@dataclass
class Parts:
    """Return the commands by name in their order."""

    folder: Path
    data: Path
    clip: Path
    steps: int
    limit: int
    ray: bool

    def commands(self) -> dict[str, list[str]]:
        """Return part -> command line."""
        opening = [sys.executable, "-c", OPEN.format(path=str(self.data), root=str(self.folder))]
        found = {
            "first opening": opening,
            "opening": opening,
            "features": self._features("store"),
            "training": self._training(),
            "evaluation": self._evaluation("results"),
            "evaluation of the agent": [
                *_script("evaluate.py"), "--methods", f"agent:{self.folder / 'run'}", "--dataset", str(self.data),
                "--split", "test", "--limit", str(self.limit), "--clip", "none", "--out", str(self.folder / "agent"),
            ],
        }  # fmt: skip
        if self.ray:
            on_ray = ["--runner", "ray", "--workers", "2"]
            found["features on Ray"] = [*self._features("store-ray"), *on_ray]
            found["evaluation on Ray"] = [*self._evaluation("results-ray"), *on_ray]
        return found

    def _features(self, name: str) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "vg_gym.cli",
            "features",
            "--dataset",
            str(self.data),
            "--clip",
            str(self.clip),
        ]
        return [*command, "--root", str(self.folder), "--splits", "train,val,test", "--out", str(self.folder / name)]

    def _training(self) -> list[str]:
        options = {
            "features": self.folder / "store", "out": self.folder / "run", "fresh": "true", "memory": 0.5,
            "proposals": "", "edge_profiles": "false", "score": "cosine", "action": "multi-edges", "threads": 1,
            "total_timesteps": self.steps, "clone.steps": max(10, self.steps // 500), "eval_samples": 100,
            "test_samples": 0,
        }  # fmt: skip
        return [*_script("train_agent.py"), *(f"{name}={value}" for name, value in options.items())]

    def _evaluation(self, name: str) -> list[str]:
        where = ["--dataset", str(self.data), "--split", "all", "--clip", "none", "--out", str(self.folder / name)]
        return [*_script("evaluate.py"), "--methods", "random", *where]


def _script(name: str) -> list[str]:
    return [sys.executable, str(HERE / name)]


def measured(command: list[str], log: Path) -> dict[str, Any]:
    """Run a command; return its seconds, and the memory of its process and of its largest child process.

    Raises:
        RuntimeError: the command failed.
    """
    start, curve = time.perf_counter(), []
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=HERE) as process:
        while process.poll() is None:
            own, others = memory(process.pid), max((memory(pid)[0] for pid in descendants(process.pid)), default=0)
            curve.append((round(time.perf_counter() - start, 1), *own, others))
            time.sleep(EVERY)
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{log.read_text()[-2000:]}")
    seconds = time.perf_counter() - start
    _, whole, private, others = zip(*curve, strict=True)
    said = log.read_text().strip().splitlines()
    peaks = {"peak": max(whole), "private": max(private), "largest worker": max(others)}
    marks = {f"at {percent} %": whole[(len(whole) - 1) * percent // 100] for percent in MARKS}
    sizes = {what: size / GIB for what, size in {**peaks, **marks}.items()}
    return {"seconds": seconds, **sizes, "said": said[-1] if said else ""}


def memory(pid: int) -> tuple[int, int]:
    """Return the resident bytes of a process, and those that are not pages of files; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in status.splitlines() if line.endswith("kB")}
        return sizes["VmRSS"], sizes["RssAnon"]
    except (OSError, KeyError):
        return 0, 0


def descendants(pid: int) -> Iterator[int]:
    """Return all descendants of a process."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def differences(folder: Path) -> list[str]:
    """Return the outputs that differ with Ray: files of features, and predictions regardless of order and time."""
    one, two = folder / "store", folder / "store-ray"
    names = sorted({path.name for path in [*one.iterdir(), *two.iterdir()]} - {"manifest.json"})
    found = [name for name in names if _digest(one / name) != _digest(two / name)]
    same = _predictions(folder / "results") == _predictions(folder / "results-ray")
    return found + ([] if same else ["predictions.jsonl"])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _predictions(folder: Path) -> int:
    """Return a sum of hashes of lines, which does not depend on their order."""
    total = 0
    with (folder / "predictions.jsonl").open() as file:
        for text in file:
            line = {name: value for name, value in json.loads(text).items() if name != "ms"}
            total += int.from_bytes(hashlib.sha256(json.dumps(line).encode()).digest(), "big")
    return total


def write(path: Path | None, found: dict[str, dict[str, Any]]) -> None:
    """Write the results of all measured parts if a file is given."""
    if path:
        write_figures(path, {f"{part}: {what}": value for part, row in found.items() for what, value in row.items()})


def main() -> None:
    """Generate the data, measure, print the table, and write the JSON file."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--rows", type=int, default=1_000_000, help="number of expressions, ten per image (default: %(default)s)"
    )
    p.add_argument("--steps", type=int, default=50_000, help="steps of training (default: %(default)s)")
    p.add_argument(
        "--limit", type=int, default=1000, help="number of expressions that the agent answers (default: %(default)s)"
    )
    p.add_argument("--only", default="", help="parts, separated by commas")
    p.add_argument("--ray", action="store_true", help="repeat features and evaluation with two Ray workers")
    p.add_argument("--folder", type=Path, help="folder for all files; default: a temporary one")
    p.add_argument("--json", type=Path, help="file for the results, written after each part")
    given = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        data, clip = generate(folder, given.rows), write_clip(folder / "clip")
        seconds, megabytes = time.perf_counter() - start, data.stat().st_size / 1e6
        print(f"{given.rows:,} rows in {megabytes:,.0f} MB, generated in {seconds:.0f} s", flush=True)
        commands = Parts(folder, data, clip, given.steps, given.limit, given.ray).commands()
        wanted = given.only.split(",") if given.only else [*commands]
        print(f"{'':26}{'seconds':>9}{'peak GiB':>10}{'private':>9}{'largest worker':>16}", flush=True)
        found = {}
        for name in wanted:
            found[name] = row = measured(commands[name], folder / "log.txt")
            peaks = [row[kind] for kind in ("peak", "private", "largest worker")]
            said = row["said"] if "opening" in name else ""
            print(f"{name:26}{row['seconds']:9.1f}{peaks[0]:10.2f}{peaks[1]:9.2f}{peaks[2]:16.2f}  {said}", flush=True)
            write(given.json, found)
        differ = differences(folder) if given.ray and not given.only else None
        if differ is not None:
            print(f"with Ray: {'the same bytes' if not differ else 'other bytes: ' + ', '.join(differ)}")
            write(given.json, {**found, "with Ray": {"differ": ", ".join(differ)}})
        over = [name for name, row in found.items() if max(row["peak"], row["largest worker"]) > BOUND]
        if over or differ:
            sys.exit(f"over 3 GiB: {', '.join(over)}" if over else "Ray gave other bytes")


if __name__ == "__main__":
    main()
