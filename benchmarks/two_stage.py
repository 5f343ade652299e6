"""Speed of a two-stage evaluation by this package and by a plain loop with the same results.

python benchmarks/two_stage.py [--images 60] [--clip refshapes]

The plain loop works like published code: for every expression it detects boxes, crops every box, encodes the crops one
by one, and encodes the expression. This package detects and encodes once per image, with all crops of a batch in one
forward pass. The lower bound is the forward passes of the crops alone, in batches.
"""

import argparse
import time

import numpy as np
import torch

from vg_gym import registry
from vg_gym.baselines import visual_prompts
from vg_gym.cli.run import run
from vg_gym.clip import load_clip


def main() -> None:
    """Measure, print, and check that the results agree to 1e-4."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=60)
    p.add_argument("--clip", default="refshapes")
    p.add_argument("--method", default="yolo-clip")
    p.add_argument("--threads", type=int, default=1)
    given = p.parse_args()
    torch.set_num_threads(given.threads)
    data = registry.open_dataset("refshapes", "test")
    queries = [data[i].query for i in range(4 * given.images)]
    registry.grounder(given.method, clip=given.clip).ground(queries[:4])  # load and warm up everything
    grounder = registry.grounder(given.method, clip=given.clip)
    start = time.perf_counter()
    ours = [p for at in range(0, len(queries), 64) for p in grounder.ground(queries[at : at + 64])]
    ours_s = time.perf_counter() - start
    plain_s, plain = _plain(registry.grounder(given.method, clip=given.clip), load_clip(given.clip).copy(), queries)
    floor_s = _floor(grounder.ranker.clips[0], queries, ours)
    gap = max(float(np.abs(p.details["scores"] - s).max()) for p, s in zip(ours, plain, strict=True))
    print(f"{given.method}, {len(queries)} expressions on {given.images} images, {given.threads} thread")
    for name, seconds in (("plain loop", plain_s), ("ours", ours_s), ("floor", floor_s)):
        print(f"{name:12} {seconds:8.2f} s  {1000 * seconds / len(queries):8.2f} ms a query")
    print(f"ours is {plain_s / ours_s:.1f} times as fast as the plain loop; largest difference of a score {gap:.1e}")
    if gap > 1e-4:
        raise SystemExit("the numbers differ")


def _plain(grounder, clip, queries) -> tuple[float, list[np.ndarray]]:
    """Evaluate one expression and one crop at a time, without caches."""
    scores = []
    start = time.perf_counter()
    for query in queries:
        image = query.image.array()
        found = grounder.select(grounder.proposer.propose([image])[0])
        clip._text_cache.clear()
        text = clip.encode_text([grounder.ranker.prompt.format(query.expression)])[0]
        cosines = [clip.encode_crops([visual_prompts.crop(image, box)])[0] @ text for box in found.boxes]
        logits = clip.logit_scale * np.array(cosines, dtype=np.float64)
        weights = np.exp(logits - logits.max())
        scores.append(weights / weights.sum())
    return time.perf_counter() - start, scores


def _floor(clip, queries, predictions) -> float:
    """Run the forward passes of each image's crops in batches of the encoder's size."""
    crops, seen = [], set()
    for query, prediction in zip(queries, predictions, strict=True):
        if query.image.key not in seen:
            seen.add(query.image.key)
            image = query.image.array()
            crops += [visual_prompts.crop(image, box) for box in prediction.details["proposals"]]
    start = time.perf_counter()
    clip.encode_crops(crops)
    return time.perf_counter() - start


if __name__ == "__main__":
    run(main)
