"""Check that two revisions give the same numbers to the bit, for refactorings that must not change behaviour.

python experiments/same_numbers.py --against REV        # the working tree against a revision, checked out beside it
python experiments/same_numbers.py --out numbers.json   # hashes of this tree alone

The script hashes the predictions of every built-in grounder and agent on the first expressions of RefShapes test
(boxes, scores, details), refined boxes, rollouts of the environment with each of its main options, the outputs of each
CLIP entry point, rows of the evaluator, and the results of the real recorded detections if they are available. It runs
in both trees, so it uses only names that exist in both.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

GROUNDERS = (
    "no-op", "full", "center", "random", "clip-window", "yolo-clip", "detr-clip", "ssd-clip", "sam-clip",
    "segments-clip", "reclip", "seg-clip", "adapting-clip", "mdetr", "transvg", "dynamic-mdetr", "red", "diffusion",
    "diffusion-ddpm", "agent:refshapes", "agent:refshapes-label-free", "agent:refiner",
)  # fmt: skip
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "yolo-clip parse": ("yolo-clip", {"parse": True}),
    "sam-clip fgvp": ("sam-clip", {"views": "crop+fgvp+red-circle"}),
    "diffusion all": ("diffusion", {"ensemble": "all", "choose": "both", "guidance": 1.5, "renewal": 0.2}),
    "clip-window contrast": ("clip-window", {"score": "contrast", "step": 2.0}),
}
REFINERS = ("agent:refiner", "diffusion", "no-op")
ROLLOUTS: dict[str, dict[str, Any]] = {
    "default": {},
    "iou": {"reward": "iou", "initial_box": "jitter"},
    "edges": {"action": "edges", "score": "cosine", "initial_box": "center,random"},
    "classic": {"action": "classic", "score": "surround", "reward": "clip+iou"},
    "continuous": {"action": "continuous", "score": "contrast", "initial_box": "random"},
    "tokens": {"tokens": True, "phrases": True, "precision": "float16"},
    "feature glimpses": {"glimpse_features": True},
    "pixels": {"observation": "pixels"},
    "crop": {"scoring": "crop", "score": "surround"},
    "crop context": {"scoring": "crop", "score": "context"},
    "lattice": {"scoring": "lattice", "lattice": 3},
    "grounder start": {"initial_box": "yolo-clip"},
}


def digest(value: Any) -> str:
    """Return a hash of arrays, numbers, texts, and containers of them."""
    found = hashlib.sha256()
    for part in _flat(value):
        found.update(part)
    return found.hexdigest()[:16]


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield str(key).encode()
            yield from _flat(value[key])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _flat(part)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, np.ndarray):
        yield from _flat(value.tolist())
    else:
        yield repr(value).encode()


def numbers(limit: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield name and function of everything that is compared."""
    from vg_gym import registry

    data = registry.open_dataset("refshapes", "test")
    samples = [data[i] for i in range(limit)]
    queries = [sample.query for sample in samples]

    def answers(name: str, options: dict[str, Any], start: Any = None) -> Callable[[], Any]:
        def ground() -> Any:
            given = () if start is None else (start,)
            found = registry.grounder(name, **options).ground(queries, *given)
            return [(p.box, p.score, p.details) for p in found]

        return ground

    for name in GROUNDERS:
        yield f"ground {name}", answers(name, {})
    for label, (name, options) in VARIANTS.items():
        yield f"ground {label}", answers(name, options)
    boxes = np.stack([p.box for p in registry.grounder("ssd-clip").ground(queries)])
    for name in REFINERS:
        yield f"refine {name}", answers(name, {}, boxes)
    yield "start agent:refiner from yolo-clip", answers("agent:refiner", {"initial_box": "yolo-clip"})
    for label, options in ROLLOUTS.items():
        yield f"rollout {label}", lambda options=options: rollout(options)  # type: ignore[misc]
    yield "clip", lambda: encodings(queries)
    yield "evaluation", lambda: evaluation(limit)
    if recorded := _recorded():
        yield "recorded", lambda: evaluation(limit, recorded)


def rollout(options: dict[str, Any]) -> Any:
    """Return observations, rewards and infos of seven environments over fourteen random steps, single and vector."""
    import gymnasium

    import vg_gym  # noqa: F401

    found = []
    envs = gymnasium.make_vec("RefShapes-Ground-v0", 7, dataset_options={"scenes": 6}, max_steps=5, **options)
    single = gymnasium.make("RefShapes-Ground-v0", dataset_options={"scenes": 6}, max_steps=5, **options)
    envs.action_space.seed(3), single.action_space.seed(3)
    found.append(envs.reset(seed=11)[0])
    found.append(single.reset(seed=12)[0])
    for _ in range(14):
        seen, reward, terminated, truncated, info = envs.step(envs.action_space.sample())
        found.append(({k: v.copy() for k, v in seen.items()}, reward, terminated, truncated))
        found.append({k: info[k] for k in ("box", "clip_score", "iou", "sent_id")})
        one = single.step(single.action_space.sample())
        found.append(one[:4])
        if one[2] or one[3]:
            found.append(single.reset()[0])
    return found


def encodings(queries: list[Any]) -> Any:
    """Return the output of every entry point of the built-in CLIP."""
    from vg_gym.clip import load_clip

    clip = load_clip("refshapes")
    images, texts = [q.image.array() for q in queries[::4]], [q.expression for q in queries]
    box = np.array([[3.5, 10, 70.2, 90], [0, 0, 128, 128]], dtype=np.float32)
    return [
        clip.fingerprint, clip.encode_text(texts), clip.encode_tokens(texts), clip.encode_dense(images[:3]),
        clip.encode_crops(images[:5]), clip.encode_boxes(images[0], box),
    ]  # fmt: skip


def evaluation(limit: int, recorded: str = "") -> Any:
    """Return the rows of ``evaluate.py`` without times."""
    with tempfile.TemporaryDirectory() as out:
        what = ["--recorded", recorded] if recorded else [
            "--methods", "random,ssd-clip,agent:refshapes,action-oracle", "--dataset", "refshapes", "--refine",
            "agent:refiner", "--probes", "--limit", str(limit),
        ]  # fmt: skip
        command = [sys.executable, "evaluate.py", *what, "--out", out]
        subprocess.run(command, check=True, capture_output=True, cwd=os.environ.get("VG_GYM_TREE", "."))
        rows = json.loads((Path(out) / "results.json").read_text())["rows"]
    return [{k: v for k, v in row.items() if k != "ms_per_query"} for row in rows]


def _recorded() -> str:
    folder = os.environ.get("VG_GYM_REALDATA", str(Path(__file__).resolve().parents[2] / "shared" / "realdata"))
    file = Path(folder) / "recorded" / "yolov5l6_clip_vitb32.json"
    return str(file.resolve()) if file.is_file() else ""


def measure(limit: int, only: str) -> dict[str, str]:
    """Return name -> hash, computed with one torch thread, as the number of threads changes the last bits."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {}
    for name, make in numbers(limit):
        if only in name:
            found[name] = digest(make())
            print(f"{found[name]}  {name}", file=sys.stderr, flush=True)
    return found


def of_tree(tree: Path, out: Path, limit: int, only: str) -> dict[str, str]:
    """Return the hashes of a tree, computed by this script in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "VG_GYM_TREE": str(tree)}
    if found := _recorded():
        environment["VG_GYM_REALDATA"] = str(Path(found).parents[1])
    command = [sys.executable, str(Path(__file__).resolve()), "--out", str(out), "--limit", str(limit), "--only", only]
    subprocess.run(command, check=True, cwd=tree, env=environment)
    return json.loads(out.read_text())


def main() -> None:
    """Measure this tree, or compare it with a revision."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--against", metavar="REV", help="revision to compare the working tree with")
    p.add_argument("--reference", type=Path, metavar="FILE.json", help="hashes of --out to compare with")
    p.add_argument("--limit", type=int, default=40, help="expressions (default: %(default)s)")
    p.add_argument("--only", default="", help="only comparisons with this text in their name")
    p.add_argument("--out", type=Path, help="write the hashes there")
    given = p.parse_args()
    if given.against is None and given.reference is None:
        found = measure(given.limit, given.only)
        if given.out:
            given.out.write_text(json.dumps(found, indent=1))
        return
    here = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        now = of_tree(here, Path(folder) / "now.json", given.limit, given.only)
        if given.reference:
            before = json.loads(given.reference.read_text())
            before = {name: value for name, value in before.items() if given.only in name}
        else:
            tree = Path(folder) / "tree"
            subprocess.run(["git", "worktree", "add", "--detach", tree, given.against], check=True, cwd=here)
            try:
                before = of_tree(tree, Path(folder) / "before.json", given.limit, given.only)
            finally:
                subprocess.run(["git", "worktree", "remove", "--force", tree], check=True, cwd=here)
    differ = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    print(f"{len(before)} compared, {len(differ)} differ{': ' if differ else ''}{', '.join(differ)}")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
