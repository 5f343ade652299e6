"""Coverage of 95 % intervals: share that contains the true value, for the bootstrap and for the evaluator's intervals.

python experiments/interval_coverage.py --json out.json                  # ten minutes on one core
python experiments/interval_coverage.py --draws 200 --most-images 100    # two minutes

Samples are drawn from known distributions: images with one to five expressions, right answers whose correlation within
an image is 0, 0.3 or 0.6 (beta-binomial), and IoUs of right and wrong boxes like those of detectors. Paired
differences are those of two methods with equal answers to nine of ten expressions. The results are the smallest and
the largest share over the correlations, and the mean width.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from vg_gym.cli.figures import write_figures
from vg_gym.evaluation.intervals import mean_intervals

IMAGES = (8, 15, 25, 50, 100, 250, 1000)
ACCURACIES = (0.5, 0.9, 0.99)
LIKENESSES = (0.0, 0.3, 0.6)
"""Correlations of right answers within an image."""
RESAMPLES = 1000
ALIKE = 0.9
"""Share of expressions with equal answers of two methods."""
TRUE_VALUE_DRAWS = 4_000_000

Draw = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--draws", type=int, default=2000, help="samples a cell")
    p.add_argument("--most-images", type=int, default=max(IMAGES))
    p.add_argument("--json", type=Path, help="also write the figures there")
    o = p.parse_args()
    figures = {}
    for images in (count for count in IMAGES if count <= o.most_images):
        for name, figure in measured(images, o.draws):
            figures[name] = figure
            print(f"{name}: {figure:.3f}", flush=True)
    if o.json:
        write_figures(o.json, figures)


def measured(images: int, draws: int) -> Iterator[tuple[str, float]]:
    """Yield smallest and largest coverage and mean width for a number of images."""
    for accuracy in tqdm(ACCURACIES, desc=f"{images} images", leave=False):
        for name, low, draw in kinds(accuracy):
            truth = float(draw(np.full((1, TRUE_VALUE_DRAWS), accuracy)).mean())
            shares: dict[str, list[float]] = {"bootstrap": [], "evaluator": []}
            widths = []
            for likeness in LIKENESSES:
                rng = np.random.default_rng([images, int(100 * accuracy), int(10 * likeness)])
                groups = np.repeat(np.arange(images), 1 + np.arange(images) % 5)
                values = draw(chances(rng, draws, images, accuracy, likeness)[:, groups])
                intervals = mean_intervals(values.T, groups, low)
                shares["evaluator"].append(coverage(intervals, truth))
                shares["bootstrap"].append(coverage(percentile_bootstrap(rng, values, groups), truth))
                widths.append(float((intervals[:, 1] - intervals[:, 0]).mean()))
            for method, of_method in shares.items():
                yield f"{name} {accuracy}, {images} images, {method}, least", min(of_method)
                yield f"{name} {accuracy}, {images} images, {method}, most", max(of_method)
            yield f"{name} {accuracy}, {images} images, width", float(np.mean(widths))


def kinds(accuracy: float) -> list[tuple[str, float, Draw]]:
    """Return the metrics with intervals: name, smallest value, and sampler of values for given probabilities."""
    rng = np.random.default_rng(int(1000 * accuracy))

    def hits(chance: np.ndarray) -> np.ndarray:
        return (rng.random(chance.shape) < chance) * 1.0

    def ious(chance: np.ndarray) -> np.ndarray:
        right = 0.5 + 0.5 * rng.beta(6, 2, chance.shape)
        wrong = np.where(rng.random(chance.shape) < 0.6, 0.0, 0.5 * rng.random(chance.shape))
        return np.where(hits(chance) > 0, right, wrong)

    def paired(values: Draw) -> Draw:
        return lambda chance: np.where(rng.random(chance.shape) < ALIKE, 0.0, values(0.9 * chance) - values(chance))

    return [("Acc", 0.0, hits), ("mean IoU at Acc", 0.0, ious), ("difference at Acc", -1.0, paired(hits)),
            ("difference of mean IoU at Acc", -1.0, paired(ious))]  # fmt: skip


def chances(rng: np.random.Generator, draws: int, images: int, accuracy: float, likeness: float) -> np.ndarray:
    """Return the probability (draws, images) that an answer to each image is right."""
    if likeness == 0:
        return np.full((draws, images), accuracy)
    strength = 1 / likeness - 1
    return rng.beta(accuracy * strength, (1 - accuracy) * strength, (draws, images))


def percentile_bootstrap(rng: np.random.Generator, values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return percentile bootstrap intervals (draws, 2) over images, which the evaluator used before."""
    images = groups.max() + 1
    member = np.eye(images)[groups]
    sums, sizes = values @ member, member.sum(axis=0)
    drawn = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)
    return np.quantile((sums @ drawn.T) / (drawn @ sizes), [0.025, 0.975], axis=1).T


def coverage(intervals: np.ndarray, truth: float) -> float:
    """Return the share of intervals (draws, 2) that contain the true value."""
    return float(((intervals[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= intervals[:, 1])).mean())


if __name__ == "__main__":
    main()
