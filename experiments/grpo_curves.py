"""GRPO of a tiny random vision-language model on two cores, with a warm-up and a frozen twin for comparison.

python experiments/grpo_curves.py --out results/grpo [--seeds 3 --steps 200]     # needs pip install "vg_gym[trl]"

Each seed builds a random Qwen2.5-VL with 93,000 weights and a new tokenizer. A short supervised warm-up on true answers
ends while most answers are not yet boxes. ``examples/grpo_vlm.py`` continues from there; the frozen twin runs fewer
steps with a learning rate of 0. ``curves.json`` contains the trainer's log, ``curves.png`` plots it, and ``tensorboard
--logdir OUT`` shows it. Runs whose ``log.json`` is already in OUT are reused.
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw, ImageFont

from vg_gym import registry
from vg_gym.cli.run import run
from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.evaluation.report.plots import GRID, INK
from vg_gym.language_models.chat import ChatDataset, to_chat_dataset
from vg_gym.storage.files import replacing, write_json

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples import grpo_vlm  # noqa: E402
from experiments import tiny_models  # noqa: E402

PROMPT = "{expression}"
"""Prompt without instructions, which are of no use to a tiny model."""
WARM_UP_BATCH, WARM_UP_LR, RISE = 32, 3e-3, 20
"""Answers per step of the warm-up, its learning rate, and the number of steps in which this rises."""
IGNORED = -100
"""Label of tokens that the loss ignores."""
FIGURES = {"format reward": "rewards/format_reward/mean", "mean IoU": "rewards/iou_reward/mean"}
"""Plotted quantity -> its name in the trainer's log."""
MEAN_OVER = 10
"""Number of steps over which starts, ends and plotted points are averaged."""
COLORS = {"GRPO": (25, 113, 194), "frozen twin": (134, 142, 150)}
WIDE, HIGH, LEFT, TOP, RIGHT, BOTTOM = 380, 240, 52, 34, 18, 62
"""Pixels of the plot of a panel and of the margins around it."""


def main() -> None:
    """Train every seed and its frozen twin; write ``curves.json`` and ``curves.png``; print starts and ends."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--warm-up", type=int, default=80, help="supervised steps before GRPO (default: %(default)s)")
    p.add_argument("--steps", type=int, default=200, help="steps of GRPO (default: %(default)s)")
    p.add_argument("--twin-steps", type=int, default=20, help="steps of the frozen twin (default: %(default)s)")
    p.add_argument("--lr", type=float, default=3e-3, help="learning rate of GRPO (default: %(default)s)")
    p.add_argument("--schedule", default="linear", help="schedule of that learning rate (default: %(default)s)")
    p.add_argument(
        "--jobs", type=int, default=2, help="number of seeds in parallel, each on one thread (default: %(default)s)"
    )
    p.add_argument("--out", type=Path, required=True, help="folder for the results")
    given = p.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        rows = [row for both in pool.map(trained, [given] * given.seeds, range(given.seeds)) for row in both]
    for row in rows:
        print(described(row))
    about = {k: str(v) if isinstance(v, Path) else v for k, v in vars(given).items()}
    write_json(given.out / "curves.json", {"meta": {**about, "seconds": time.perf_counter() - start}, "rows": rows})
    with replacing(given.out / "curves.png") as part:
        drawn(rows, tuple(FIGURES)).save(part, format="PNG")
    print(f"curves in {given.out / 'curves.png'}")


def trained(given: argparse.Namespace, seed: int) -> list[dict]:
    """Return the trainer's logs of the run of a seed and of its frozen twin."""
    torch.set_num_threads(1)
    warm = given.out / f"warm-s{seed}"
    if not (warm / "model.safetensors").is_file():
        warmed_up(warm, given.dataset, given.warm_up, seed)
    rows = [{"seed": seed, "run": "GRPO", "steps": given.steps, "lr": given.lr}]
    rows += [{"seed": seed, "run": "frozen twin", "steps": given.twin_steps, "lr": 0.0}]
    for row in rows:
        log = logged(warm, given, row)
        row |= {figure: [line[key] for line in log if key in line] for figure, key in FIGURES.items()}
    return rows


def logged(warm: Path, given: argparse.Namespace, row: dict) -> list[dict]:
    """Return the log of a run of the example; start the run if there is no log."""
    out = given.out / f"{row['run'].replace(' ', '-')}-s{row['seed']}"
    if not (out / "log.json").is_file():
        log = grpo_vlm.main(
            ["--model", str(warm), "--dataset", given.dataset, "--prompt", PROMPT, "--steps", str(row["steps"]),
             "--lr", str(row["lr"]), "--schedule", given.schedule, "--prompts", "8", "--group", "8", "--length", "24",
             "--seed", str(row["seed"]), "--out", str(out)]
        )  # fmt: skip
        write_json(out / "log.json", log)
    return json.loads((out / "log.json").read_text())


def warmed_up(folder: Path, dataset: str, steps: int, seed: int) -> None:
    """Save a tiny model that has learned from a few true answers and sometimes answers with a box."""
    words = tuple(f" {word}" for word in vocabulary())
    random = tiny_models.qwen(folder.with_name(f"random-s{seed}"), extra=(", ", *words), seed=seed)
    model = transformers.AutoModelForImageTextToText.from_pretrained(random)
    processor = transformers.AutoProcessor.from_pretrained(random, padding_side="right")
    rows = to_chat_dataset(registry.open_dataset(dataset, "train"), prompt=PROMPT)
    optimizer = torch.optim.AdamW(model.parameters(), lr=WARM_UP_LR)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / RISE, total_iters=RISE)
    rng = np.random.default_rng(seed)
    model.train()
    for _ in range(steps):
        loss = model(**answered(processor, rows, rng.integers(0, len(rows), WARM_UP_BATCH))).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rise.step()
    processor.save_pretrained(folder)
    model.save_pretrained(folder)


def answered(processor, rows: ChatDataset, chosen: np.ndarray):
    """Return prompts with true answers; the loss covers only the answers."""
    batch = [rows[int(index)] for index in chosen]
    prompts = [
        processor.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False) for row in batch
    ]
    answers = [row["solution"] + processor.tokenizer.eos_token for row in batch]
    texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    inputs = processor(images=[[row["image"]] for row in batch], text=texts, padding=True, return_tensors="pt")
    places = torch.arange(inputs["input_ids"].shape[1])
    ends = inputs["attention_mask"].sum(1, keepdim=True)
    lengths = torch.tensor([[len(ids)] for ids in processor.tokenizer(answers)["input_ids"]])
    learned = (places >= ends - lengths) & (places < ends)
    return {**inputs, "labels": inputs["input_ids"].masked_fill(~learned, IGNORED)}


def described(row: dict) -> str:
    """Print the start and the end of a run in one line."""
    moves = (
        f"{figure} {np.mean(row[figure][:MEAN_OVER]):.3f} -> {np.mean(row[figure][-MEAN_OVER:]):.3f}"
        for figure in FIGURES
    )
    return f"seed {row['seed']} {row['run']:12} {', '.join(moves)}"


def drawn(rows: list[dict], figures: Sequence[str]) -> Image.Image:
    """Draw one panel per quantity, side by side, with one line per run.

    Args:
        rows: runs, with their name in ``run`` (a key of :data:`COLORS`) and a list for each quantity.
        figures: quantities.
    """
    sheet = Image.new("RGB", (len(figures) * (LEFT + WIDE + RIGHT), TOP + HIGH + BOTTOM), "white")
    for i, figure in enumerate(figures):
        panel = _panel(figure, rows)
        sheet.paste(panel, (i * panel.width, 0))
    draw = ImageDraw.Draw(sheet)
    for i, (name, color) in enumerate(COLORS.items()):
        at = LEFT + 150 * i, TOP + HIGH + BOTTOM - 18
        draw.line((*at, at[0] + 20, at[1]), color, 3)
        draw.text((at[0] + 26, at[1]), name, INK, ImageFont.load_default(12), anchor="lm")
    return sheet


def _panel(figure: str, rows: list[dict]) -> Image.Image:
    panel = Image.new("RGB", (LEFT + WIDE + RIGHT, TOP + HIGH + BOTTOM), "white")
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(11)
    most = 1.0 if figure.startswith("format") else 0.05 * np.ceil(20 * max(max(smooth(row[figure])) for row in rows))
    for tick in np.linspace(0, most, 6):
        up = TOP + (1 - tick / most) * HIGH
        draw.line((LEFT, up, LEFT + WIDE, up), GRID)
        draw.text((LEFT - 6, up), f"{tick:.2g}", INK, font, anchor="rm")
    steps = max(len(row[figure]) for row in rows)
    for tick in range(0, steps + 1, max(1, steps // 5)):
        draw.text((LEFT + tick / steps * WIDE, TOP + HIGH + 6), str(tick), INK, font, anchor="ma")
    for row in rows:
        points = [
            (
                LEFT + (i + 0.5 * (1 + len(row[figure]) - len(smooth(row[figure])))) / steps * WIDE,
                TOP + (1 - y / most) * HIGH,
            )
            for i, y in enumerate(smooth(row[figure]))
        ]
        draw.line(points, COLORS[row["run"]], 2)
    draw.text((LEFT, 8), f"{figure} against step", INK, ImageFont.load_default(15))
    return panel


def smooth(values: list[float]) -> np.ndarray:
    """Return means over :data:`MEAN_OVER` consecutive steps."""
    width = min(MEAN_OVER, len(values))
    return np.convolve(values, np.ones(width) / width, mode="valid")


if __name__ == "__main__":
    run(main)
