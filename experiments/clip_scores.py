"""Suitability of CLIP scores as rewards: agreement with IoU, and the IoU of the box with the highest score.

python experiments/clip_scores.py [CLIP] [--samples 400 --json out.json]

The table shows for each score, on RefShapes val, its rank correlation (Spearman) with IoU over random boxes of the same
image, and the mean IoU of the box that maximises it over a dense lattice, which tells how far the score can be gamed.
``relational`` uses the proposals of the built-in SSD. The last row is the upper bound: the box of the lattice with the
highest IoU.
"""

import argparse
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.cli.figures import write_figures
from vg_gym.clip import load_clip
from vg_gym.clip.finetuning.box_text_batches import perturb, random_boxes
from vg_gym.clip.region_features import summed_area
from vg_gym.clip.scores import SCORES, negative_texts, score_boxes
from vg_gym.data.worlds.refshapes.expressions import KINDS
from vg_gym.envs.options import EnvOptions
from vg_gym.envs.scoring.relational import expected_iou
from vg_gym.features.query_proposals import QueryProposals
from vg_gym.registry import open_dataset
from vg_gym.types import by_image


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("clip", nargs="?", default="refshapes")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    clip, dataset = load_clip(options.clip), open_dataset("refshapes", "val")
    others = negative_texts(clip, "contrast")
    windows = lattice_boxes(clip.grid, 1.0, 1.0, clip.grid * 5 / 8)
    propose = QueryProposals("ssd", EnvOptions.num_proposals, clip)
    rng = np.random.default_rng(0)
    found: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for group in tqdm(by_image(dataset[i] for i in range(options.samples))):
        dense = clip.encode_dense([group[0].query.image.array()])
        table = summed_area(dense)
        for sample in group:
            target = box_ops.normalize(sample.box, sample.query.image.size)
            probes = np.concatenate([random_boxes(rng, 200), perturb(target[None], rng, 100)]).astype(np.float32)
            text = clip.encode_text([sample.query.expression])
            scores_of = {name: partial(named, name, table, text, others) for name in SCORES}
            scores_of["relational"] = partial(relational, propose(sample.query, dense[0]))
            for name, score in scores_of.items():
                agreement = spearmanr(score(probes), box_ops.iou(probes, target))
                scores = [score(part) for part in np.array_split(windows, 16)]
                best = windows[np.concatenate(scores).argmax()]
                row = float(agreement.statistic), float(box_ops.iou(best, target))
                found[name, sample.kind].append(row)
                found[name, "all"].append(row)
            found["lattice ceiling", sample.kind].append((1.0, float(box_ops.iou(windows, target).max())))
            found["lattice ceiling", "all"].append(found["lattice ceiling", sample.kind][-1])
    kinds = (*KINDS, "all")
    means = {key: np.mean(rows, axis=0) for key, rows in found.items()}
    print(f"clip {clip.name}, {options.samples} expressions of refshapes val: Spearman with IoU / IoU of the maximum")
    print(f"{'score':16}" + "".join(f"{kind:>16}" for kind in kinds))
    for name in (*SCORES, "relational", "lattice ceiling"):
        print(f"{name:16}" + "".join("{:9.2f} / {:.2f}".format(*means[name, kind]) for kind in kinds))
    if options.json:
        figures = {}
        for (name, kind), (correlation, iou) in means.items():
            figures |= {f"{name}, {kind}: correlation": float(correlation), f"{name}, {kind}: mean IoU": float(iou)}
        write_figures(options.json, figures)


def named(name: str, table: np.ndarray, text: np.ndarray, others: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the scores (B,) of boxes (B, 4) for a text (1, D)."""
    return score_boxes(name, table, text, boxes[None], others)[0]


def relational(proposals: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the scores (B,) of boxes (B, 4)."""
    return expected_iou(boxes[:, None], proposals[:, :4], proposals[:, -1])


if __name__ == "__main__":
    main()
