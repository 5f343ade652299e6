"""Multi-turn GRPO of a tiny vision-language model with tools: a warm-up, a training and a frozen twin for each seed.

python experiments/agent_curves.py --out results/grpo-agent [--seeds 3 --jobs 2]     # needs pip install "vg_gym[trl]"

Pictures show only the object that is meant, because there the tiny model learns to look within minutes; among three or
four objects it does not. Each seed builds a random Qwen3-VL with a new tokenizer. A supervised warm-up on played
conversations (20 % of which begin with a wrong box that is then corrected) teaches the calls.
``examples/grpo_agent.py`` continues from there. The frozen twin is the model after the warm-up. Both play the same
held-out episodes, twice each, sampling as in training.
OUT then has ``curves.csv`` (a line for each step of each seed), ``curves.png``, and ``seed-N.json`` with the outcome of
each held-out episode; seeds whose file is there are not trained again, and other options need another OUT.
"""

import argparse
import csv
import itertools
import json
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vg_gym import registry
from vg_gym.boxes import normalize
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.scenes import COLORS, draw_scene
from vg_gym.envs.rewards import SUCCESS_IOU
from vg_gym.errors import VGGymError
from vg_gym.language_models.grounding_tools import tools_of
from vg_gym.storage.files import replacing, write_json
from vg_gym.types import Query, Sample

sys.path.insert(0, str(Path(__file__).parents[1]))
from examples import grpo_agent  # noqa: E402
from experiments import tiny_agent, tiny_models  # noqa: E402
from experiments.grpo_curves import drawn  # noqa: E402

TRAINED, HELD_OUT, SHOWN = 900, 100, 3000
"""Numbers of episodes of GRPO, of the comparison with the twin, and of the warm-up."""
PICTURE_PX = 128
"""Side of the pictures in pixels."""
MISTAKES = 0.2
"""Share of conversations of the warm-up that begin with a wrong box."""
WARM_UP_BATCH, WARM_UP_LR = 16, 2e-3
"""Conversations per step of the warm-up, and its largest learning rate."""
RESAMPLES = 10_000
"""Number of resamples of a bootstrap interval."""
LEARNING_OPTIONS = ("warm_up", "steps", "group", "prompts", "lr")
"""Options of this script on which a trained seed depends."""
OPTIONS = ["--turns", "3", "--pictures", "first", "--size", str(tiny_agent.SIDE), "--length", "160"]
"""Options of the example that all runs share."""


def main() -> None:
    """Train every seed, compare it with its frozen twin, and write the figures."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--warm-up", type=int, default=3000, help="supervised steps before GRPO (default: %(default)s)")
    p.add_argument("--steps", type=int, default=150, help="steps of GRPO (default: %(default)s)")
    p.add_argument("--group", type=int, default=8, help="conversations from each start (default: %(default)s)")
    p.add_argument("--prompts", type=int, default=8, help="starts in a step (default: %(default)s)")
    p.add_argument("--lr", type=float, default=2.5e-4, help="learning rate of GRPO (default: %(default)s)")
    p.add_argument("--jobs", type=int, default=2, help="seeds in parallel, one thread each (default: %(default)s)")
    p.add_argument("--out", type=Path, required=True, help="folder for the results")
    p.add_argument("--json", type=Path, help="also write the figures here")
    given = p.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    check_options(given)
    shown(given.out / "conversations.pt")
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        rows = list(pool.map(trained, [given] * given.seeds, range(given.seeds)))
    _write_csv(given.out / "curves.csv", rows)
    with replacing(given.out / "curves.png") as part:
        drawn([run for row in rows for run in _runs(row)], tuple(FIGURES)).save(part, format="PNG")
    figures = {f"seed {row['seed']}: {name}": value for row in rows for name, value in summary(row).items()}
    differences = np.mean([paired(row) for row in rows], axis=0)
    figures |= {f"all seeds: {name}": value for name, value in zip(("low", "high"), interval(differences), strict=True)}
    for name, value in figures.items():
        print(f"{name} {value:.4g}")
    if given.json:
        write_figures(given.json, figures)


def check_options(given: argparse.Namespace) -> None:
    """Write the options into the folder, or compare them with those of the seeds that are already in it.

    Raises:
        VGGymError: the seeds in the folder were trained with other options.
    """
    file, options = given.out / "options.json", {name: getattr(given, name) for name in LEARNING_OPTIONS}
    if file.is_file() and json.loads(file.read_text()) != options:
        raise VGGymError(f"{given.out} has seeds with other options ({file}); name another folder with --out")
    write_json(file, options)


def summary(row: dict) -> dict[str, float]:
    """Return the figures of a seed."""
    figures: dict[str, float] = {}
    for who in ("twin", "trained"):
        played = row[who]
        figures |= {f"{who} {name}": float(np.mean([one[name] for one in played])) for name in OUTCOMES}
        figures[f"{who} hit"] = float(np.mean([one["iou"] >= SUCCESS_IOU for one in played]))
        figures[f"{who} calls"] = float(np.mean([sum(one["tools"].values()) for one in played]))
        figures[f"{who} spread"] = float(np.mean(np.std([one["box"] for one in played], axis=0)))
    low, high = interval(paired(row))
    return {**figures, "low": low, "high": high, **{f"{k} minutes": v / 60 for k, v in row["seconds"].items()}}


OUTCOMES = ("return", "iou", "finished")
"""Outcomes of a conversation that are averaged."""


def paired(row: dict) -> np.ndarray:
    """Return for each held-out episode the mean return of the trained model minus that of its twin."""
    means = {who: [np.mean(values) for _, values in sorted(_by_index(row[who]).items())] for who in ("twin", "trained")}
    return np.array(means["trained"]) - np.array(means["twin"])


def _by_index(played: list[dict]) -> dict[int, list[float]]:
    returns: dict[int, list[float]] = {}
    for one in played:
        returns.setdefault(one["index"], []).append(one["return"])
    return returns


def interval(differences: np.ndarray) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean over episodes."""
    rows = np.random.default_rng(0).integers(0, len(differences), (RESAMPLES, len(differences)))
    low, high = np.percentile(differences[rows].mean(1), [2.5, 97.5])
    return float(low), float(high)


def _runs(row: dict) -> list[dict]:
    """Return the lines of a seed in the plot: the training, and the mean of its twin on the held-out episodes."""
    steps, twin = len(row["curve"]["return"]), summary(row)
    flat = {"return": twin["twin return"], "IoU": twin["twin iou"], "finished": twin["twin finished"]}
    return [{"run": "GRPO", **row["curve"]}, {"run": "frozen twin", **{k: [v] * steps for k, v in flat.items()}}]


def _write_csv(file: Path, rows: list[dict]) -> None:
    """Write a line for each step of each seed."""
    with replacing(file) as part, part.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["seed", "step", *FIGURES])
        for row in rows:
            values = zip(*(row["curve"][name] for name in FIGURES), strict=True)
            writer.writerows([row["seed"], step, *(round(v, 5) for v in line)] for step, line in enumerate(values, 1))


def episodes() -> list:
    """Return the samples: those of GRPO, the held-out ones (of another split), and those of the warm-up."""
    train, val = (registry.open_dataset("refshapes-easy", split) for split in ("train", "val"))
    first = alone(train, 0, TRAINED + SHOWN)
    return [*first[:TRAINED], *alone(val, 0, HELD_OUT), *first[TRAINED:]]


def alone(data: RefShapes, start: int, count: int) -> list[Sample]:
    """Return samples with attributes and a colour in the expression, in pictures that show only the object meant."""
    samples = (data[i] for i in range(start, len(data)))
    chosen = (s for s in samples if s.kind == "attribute" and set(s.query.expression.split()) & set(COLORS))
    return [_alone(data, sample) for sample in itertools.islice(chosen, count)]


def _alone(data: RefShapes, sample: Sample) -> Sample:
    """Return a sample whose picture shows only the object that is meant."""
    record = data.record(sample.image_id - data[0].image_id)
    target = record.scene()[sample.ann_id - sample.image_id * 10]
    pixels = draw_scene((target,), record.rng("pixels"), PICTURE_PX, texture=1.0)
    key = f"alone {sample.query.key}"
    return replace(sample, query=Query(ArrayImage(pixels, key), sample.query.expression, key))


def shown(file: Path) -> dict:
    """Return the inputs of the conversations of the warm-up, which are played if the file is missing."""
    if not file.is_file():
        samples, rng = episodes(), np.random.default_rng(0)
        options = {"clip": tiny_models.text_clip(file.parent / "clip"), "reward": "iou", "min_steps": 1, "max_steps": 3}
        env = tools_of(dataset=samples, size=tiny_agent.SIDE, pictures="first", cache=False, **options)()
        boxes = [1000 * normalize(sample.box, sample.query.image.size) for sample in samples]
        played = []
        for index in range(TRAINED + HELD_OUT, len(samples)):
            wrong = boxes[rng.integers(len(boxes))] if rng.random() < MISTAKES else None
            played.append(tiny_agent.conversation(env, boxes[index], index, wrong))
        with replacing(file) as part:
            torch.save({"ask": ask(env), "inputs": tiny_agent.batch_of(tiny_agent.make([ask(env)])[1], played)}, part)
    return torch.load(file)


def ask(env) -> str:
    """Return the sentences on the tools at the end of a first message."""
    text = env.reset(index=0)[-1]["text"]
    return text[text.index("Move an edge") :]


def trained(given: argparse.Namespace, seed: int) -> dict:
    """Return the curve of a seed, and the outcomes of its held-out episodes before and after training."""
    torch.set_num_threads(1)
    file = given.out / f"seed-{seed}.json"
    if not file.is_file():
        write_json(file, _trained(given, seed))
    return json.loads(file.read_text())


def _trained(given: argparse.Namespace, seed: int) -> dict:
    conversations = shown(given.out / "conversations.pt")
    model, processor = tiny_agent.make([conversations["ask"]], seed)
    start = time.process_time()
    losses = warm_up(model, conversations["inputs"], given.warm_up, seed)
    middle = time.process_time()
    outcomes: list[dict] = []

    def record(environments, index, completions, **columns):
        outcomes.extend(outcome(env, i, talk) for env, i, talk in zip(environments, index, completions, strict=True))
        return [0.0] * len(environments)

    chosen = {name: getattr(given, name) for name in ("group", "prompts", "lr", "steps")}
    chosen |= {"clip": given.out / "clip", "limit": TRAINED, "seed": seed, "out": given.out / f"s{seed}"}
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    options = grpo_agent.parser().parse_args([*OPTIONS, *words])
    held_out = range(TRAINED, TRAINED + HELD_OUT)
    trainer = grpo_agent.make_trainer(options, model, processor, episodes(), held_out, [record])
    twin = evaluated(trainer, outcomes)
    begin = time.process_time()
    trainer.train()
    end = time.process_time()
    log = [line for line in trainer.state.log_history if "reward" in line]
    curve = {name: [line[key] for line in log] for name, key in FIGURES.items()}
    trained_outcomes = evaluated(trainer, outcomes)
    seconds = {"warm-up": middle - start, "GRPO": end - begin}
    weights = sum(parameter.numel() for parameter in model.parameters())
    both = {"twin": twin, "trained": trained_outcomes}
    return {"seed": seed, "weights": weights, "loss": losses, "curve": curve, **both, "seconds": seconds}


FIGURES = {"return": "reward", "IoU": "rewards/final_iou/mean", "finished": "rewards/finished/mean"}
"""Quantity -> its name in the trainer's log."""


def evaluated(trainer, outcomes: list[dict]) -> list[dict]:
    """Return the outcomes of the held-out episodes."""
    outcomes.clear()
    trainer.evaluate()
    played = list(outcomes)
    outcomes.clear()
    return played


def outcome(env, index: int, talk: list[dict]) -> dict:
    """Return what a conversation did and earned."""
    calls = [call["function"] for message in talk for call in message.get("tool_calls") or []]
    return {
        "index": int(index), "return": env.get_reward(), "iou": float(env.info["iou"]),
        "finished": bool(env.is_over),
        "tools": dict(Counter(str(call.get("name")) for call in calls)), "box": np.asarray(env.info["box"]).tolist(),
    }  # fmt: skip


def warm_up(model, inputs: dict, steps: int, seed: int) -> list[float]:
    """Train a model on conversations, and return its losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=WARM_UP_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, WARM_UP_LR, total_steps=steps)
    rng, count, losses = np.random.default_rng(seed), len(inputs["input_ids"]), []
    pixels = inputs["pixel_values"].reshape(count, -1, inputs["pixel_values"].shape[-1])
    model.train()
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, count, WARM_UP_BATCH))
        batch = {name: values[rows] for name, values in inputs.items() if name != "pixel_values"}
        loss = model(**batch, pixel_values=pixels[rows].flatten(0, 1)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    run(main)
