"""Choice among the true boxes of a scene by CLIP: from the whole image, and from a closer look at each box.

python experiments/closer_looks.py [CLIP] [--dataset refscenes --split test-small --samples 400 --json out.json]

It tells what "look closer" (zoom=true, vg_gym/envs/closer_looks.py) could add for an agent that looks at every object:
R@1, the share of expressions whose target has the highest dense score, and its paired difference with the 95 % interval
over images, by the size of the target. Expressions that mean one thing count, in scenes of two objects or more.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.clip.region_features import summed_area
from vg_gym.clip.scores import negative_texts, score_boxes
from vg_gym.evaluation.intervals import SIGNED, difference_interval, interval_text
from vg_gym.features.dense_features import DenseFeatures
from vg_gym.features.image_views import ImageView, view_around
from vg_gym.registry import open_dataset
from vg_gym.types import ImageRef, Objects, Sample

SIZES = {"all": (0.0, 1.0), "small": (0.0, 0.05), "medium": (0.05, 0.15), "large": (0.15, 1.0)}
"""Name -> range of the target's area, as a fraction of the picture."""


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("clip", nargs="?", default="refshapes")
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--split", default="val")
    p.add_argument("--samples", type=int, default=400, help="number of expressions, from the first on")
    p.add_argument("--image-size", type=int, help="long side of drawn pictures in pixels (default: the data set's)")
    p.add_argument("--score", default="cosine", help="score of CLIP")
    p.add_argument("--json", type=Path, help="also write the figures there")
    o = p.parse_args()
    options = {"image_size": o.image_size} if o.image_size else {}
    clip, data = load_clip(o.clip), open_dataset(o.dataset, o.split, **options)
    dense = DenseFeatures(clip, None)  # it remembers the views of an image for its next expressions
    right, areas, groups = [], [], []
    for row in tqdm(range(min(o.samples, len(data))), unit="expression"):
        sample = data[row]
        objects = data.objects(sample.image_id)
        if len(sample.boxes) == 1 and len(objects.boxes) > 1:
            right.append(both_choices(dense, o.score, sample, objects))
            areas.append(float(box_ops.area(box_ops.normalize(sample.box, sample.query.image.size))))
            groups.append(sample.image_id)
    figures = report(np.array(right, dtype=float), np.array(areas), np.array(groups))
    if o.json:
        write_figures(o.json, figures)


def both_choices(dense: DenseFeatures, score: str, sample: Sample, objects: Objects) -> tuple[bool, bool]:
    """Return whether the highest score is the target's, from the whole image and from a look at each object."""
    image, text = sample.query.image, dense.clip.encode_text([sample.query.expression])
    negatives = negative_texts(dense.clip, score)

    def scored(shown: ImageRef, boxes: np.ndarray) -> np.ndarray:
        table = summed_area(dense(shown).astype(np.float32))[None]
        return score_boxes(score, table, text, box_ops.normalize(boxes, shown.size)[None], negatives)[0]

    target = int(np.abs(objects.boxes - sample.box).sum(axis=1).argmin())
    whole = scored(image, objects.boxes)
    close = [close_score(image, box, scored) for box in objects.boxes]
    return int(whole.argmax()) == target, int(np.argmax(close)) == target


def close_score(image: ImageRef, box: np.ndarray, scored: Callable[[ImageRef, np.ndarray], np.ndarray]) -> float:
    """Return the score of a pixel box (4,) in the view around it."""
    view = ImageView(image, view_around(box, image.size))
    return float(scored(view, (box - np.tile(view.box[:2], 2))[None])[0])


def report(right: np.ndarray, areas: np.ndarray, groups: np.ndarray) -> dict[str, float | str]:
    """Print a Markdown table of R@1 by size, and return its figures.

    Args:
        right: whether the choices from the whole image and from looks are right, (N, 2).
        areas: areas of the targets as fractions of the picture, (N,).
        groups: N image ids.
    """
    figures: dict[str, float | str] = {}
    print("| target | n | whole image | closer look | difference |\n|---|---|---|---|---|")
    for name, (low, high) in SIZES.items():
        rows = (areas >= low) & (areas < high)
        if not rows.any():
            continue
        whole, close = right[rows].mean(axis=0).tolist()
        interval = interval_text(difference_interval(right[rows, 1] - right[rows, 0], groups[rows]), SIGNED)
        print(f"| {name} | {rows.sum()} | {whole:.3f} | {close:.3f} | {close - whole:+.3f} ({interval}) |")
        figures |= {f"{name} n": int(rows.sum()), f"{name} whole image": whole, f"{name} closer look": close}
    return figures


if __name__ == "__main__":
    run(main)
