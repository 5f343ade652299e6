"""Box diffusion: mean IoU and time by steps, number of boxes and guidance, as a plot and as JSON.

python experiments/diffusion_curves.py --out results/diffusion-curves [--limit 400]
python experiments/diffusion_curves.py --out results/both --weights refshapes,runs/diffusion-vector-refshapes/model

Every curve changes one option and uses the saved values of the others. The time per query with saved options is
compared with a lower bound (the parts that do not depend on the sampler: CLIP and the encoder of the expression) and
with a naive implementation, which takes one query at a time and calls the whole network in every step.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.evaluation.report.plots import GRID, INK
from vg_gym.learned.batch import Batch
from vg_gym.learned.grounder import query_batch
from vg_gym.storage.files import replacing
from vg_gym.types import Prediction

CURVES = {
    "steps": (1, 2, 4, 8, 16),
    "boxes": (1, 2, 4, 8, 16),
    "guidance": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
}
COLORS = ((25, 113, 194), (232, 89, 12), (47, 158, 68), (156, 54, 181))
WIDE, HIGH, LEFT, TOP, RIGHT, BOTTOM = 300, 240, 52, 34, 18, 62
"""Pixels of the plot of a panel and of the margins around it."""


def main() -> None:
    """Measure every curve, write ``curves.json`` and ``curves.png``."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--weights", default="refshapes", help="comma-separated (default: %(default)s)")
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--split", default="test")
    p.add_argument("--root", help="folder of the data set on disk")
    p.add_argument("--limit", type=int, default=400, help="number of expressions (default: %(default)s)")
    p.add_argument(
        "--seeds", type=int, default=1, help="seeds of the noise; the plot shows their mean (default: %(default)s)"
    )
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--out", type=Path, required=True, help="folder for the results")
    given = p.parse_args()
    torch.set_num_threads(given.threads)
    data = registry.open_dataset(given.dataset, given.split, root=given.root)
    samples = [data[i] for i in range(min(given.limit, len(data)))]
    names = given.weights.split(",")
    rows = [row for weights in names for row in _curves(weights, samples, given.seeds)]
    speed = {weights: _speed(weights, [s.query for s in samples[:64]]) for weights in names}
    for weights, ms in speed.items():
        print(f"{weights:18} " + "  ".join(f"{k} {v:.1f} ms a query" for k, v in ms.items()))
    given.out.mkdir(parents=True, exist_ok=True)
    figures = {
        f"{row['weights']}, {row['curve']} {row['value']:g}: {what}": row[what]
        for row in rows
        for what in ("mean_iou", "acc@0.5", "ms_per_query")
    }
    figures |= {f"{weights}: {what}, ms a query": ms for weights, row in speed.items() for what, ms in row.items()}
    write_figures(given.out / "curves.json", figures)
    with replacing(given.out / "curves.png") as part:
        _draw(rows).save(part, format="PNG")
    print(f"curves in {given.out / 'curves.png'}")


def _curves(weights: str, samples: list, seeds: int) -> list[dict]:
    """Return a row for every point of every curve; settings shared by two curves are measured once."""
    rows, known = [], {}
    saved = registry.grounder("diffusion", weights=weights).model.options.sampling
    for curve, values in CURVES.items():
        for value in values:
            setting = tuple({**vars(saved), curve: value}.items())
            if setting not in known:
                known[setting] = _measure(weights, samples, {curve: value}, seeds)
            row = {"weights": weights, "curve": curve, "value": value, **known[setting]}
            figures = (
                f"mean IoU {row['mean_iou']:.4f}  Acc@0.5 {row['acc@0.5']:.4f}  {row['ms_per_query']:6.1f} ms a query"
            )
            print(f"{weights:18} {curve:8} {value:4g}  {figures}")
            rows.append(row)
    return rows


def _measure(weights: str, samples: list, options: dict, seeds: int) -> dict:
    """Return the results of one setting over all seeds."""
    truth, queries = np.stack([s.box for s in samples]), [s.query for s in samples]
    ious, seconds = [], []
    for seed in range(seeds):
        grounder = registry.grounder("diffusion", weights=weights, **{**options, "seed": seed})
        grounder.ground(queries[:1])  # warm up
        start = time.perf_counter()
        found = grounder.ground(queries)
        seconds.append(time.perf_counter() - start)
        ious.append(box_ops.pixel_iou(np.stack([p.box for p in found]), truth))
    return {
        "mean_iou": float(np.mean(ious)),
        "acc@0.5": float((np.array(ious) >= 0.5).mean()),
        "ms_per_query": 1000 * min(seconds) / len(samples),
    }


def _speed(weights: str, queries: list) -> dict[str, float]:
    """Return ms per query of the package, the lower bound, and the naive twin; boxes must be equal."""
    grounder = registry.grounder("diffusion", weights=weights)
    grounder.ground(queries[:1])  # warm up
    ours, found = _timed(lambda: grounder.ground(queries))
    floor, _ = _timed(lambda: _read(grounder.model, query_batch(grounder.model, queries)))
    naive, again = _timed(lambda: [_naive(grounder, query) for query in queries])
    if not np.array_equal(np.stack([p.box for p in found]), np.stack([p.box for p in again])):
        raise SystemExit("the naive twin gives other boxes")
    return {k: 1000 * v / len(queries) for k, v in (("ours", ours), ("floor", floor), ("naive", naive))}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call and its result."""
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


@torch.inference_mode()
def _read(model, batch: Batch) -> None:
    """Compute the parts that are needed once per image and once per expression, one query at a time."""
    parts = zip(*(model.encode_image(image) for image in batch.images.split(1)), strict=True)
    images = tuple(torch.cat(part) for part in parts)
    for row in torch.arange(len(batch)).split(1):
        texts, dropped = model.clip.encode_text(batch.tokens[row]), torch.zeros(1, dtype=torch.bool)
        model.denoiser.encode_query(images, batch.image_of[row], texts, dropped)


def _naive(grounder, query) -> Prediction:
    """Denoise a single query, which the network encodes again in every step."""
    model, batch = grounder.model, query_batch(grounder.model, [query])
    once = type(model)._denoise

    def anew(images, image_of, texts):
        return lambda *x: once(model, model.encode_image(batch.images), image_of, model.clip.encode_text(batch.tokens))(
            *x
        )

    model._denoise = anew
    try:
        return grounder.ground([query])[0]
    finally:
        del model._denoise


def _draw(rows: list[dict]) -> Image.Image:
    """Draw one panel per curve, side by side, with one line per set of weights."""
    names = list(dict.fromkeys(row["weights"] for row in rows))
    sheet = Image.new("RGB", (len(CURVES) * (LEFT + WIDE + RIGHT), TOP + HIGH + BOTTOM), "white")
    for i, curve in enumerate(CURVES):
        panel = _panel(curve, [row for row in rows if row["curve"] == curve], names)
        sheet.paste(panel, (i * panel.width, 0))
    draw = ImageDraw.Draw(sheet)
    for i, name in enumerate(names):
        at = LEFT + 150 * i, TOP + HIGH + BOTTOM - 18
        draw.line((*at, at[0] + 20, at[1]), COLORS[i % len(COLORS)], 3)
        draw.text((at[0] + 26, at[1]), Path(name).name, INK, _font(12), anchor="lm")
    return sheet


def _panel(curve: str, rows: list[dict], names: list[str]) -> Image.Image:
    panel = Image.new("RGB", (LEFT + WIDE + RIGHT, TOP + HIGH + BOTTOM), "white")
    draw = ImageDraw.Draw(panel)
    values = CURVES[curve]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        up = TOP + (1 - tick) * HIGH
        draw.line((LEFT, up, LEFT + WIDE, up), GRID)
        draw.text((LEFT - 6, up), f"{tick:g}", INK, _font(11), anchor="rm")
    across = {value: LEFT + 20 + i * (WIDE - 40) / (len(values) - 1) for i, value in enumerate(values)}
    for value, x in across.items():
        draw.text((x, TOP + HIGH + 6), f"{value:g}", INK, _font(11), anchor="ma")
    for i, name in enumerate(names):
        points = [(across[r["value"]], TOP + (1 - r["mean_iou"]) * HIGH) for r in rows if r["weights"] == name]
        draw.line(points, COLORS[i % len(COLORS)], 2)
        for x, y in points:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), COLORS[i % len(COLORS)])
    draw.text((LEFT, 8), f"mean IoU against {curve}", INK, _font(15))
    return panel


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


if __name__ == "__main__":
    run(main)
