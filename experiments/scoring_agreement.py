"""Comparison of agents that learn from dense scores and from crops; each is evaluated on both.

python experiments/scoring_agreement.py [--scenes 100] [--minutes 2] [--seeds 3] [--limit 400] [--json F]

Label-free agents (reward=clip) learn on the same scenes with scoring=dense, and with scoring=lattice, which are crops.
Each then grounds test expressions in environments with scoring=dense and scoring=crop. Observations contain the score
of the box, so they differ too. Agents are saved in --out and reused.
"""

import argparse
from pathlib import Path

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.agents.agent_trainer import AgentTrainer
from vg_gym.agents.config import TrainConfig
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.evaluation import metrics

WITHOUT_PROPOSALS = {"score": "context", "proposals": "", "edge_profiles": False, "action": "multi-edges",
                     "step_cost": 0.01, "max_steps": 10}  # fmt: skip
"""Observations that are available to agents with crop scores too."""


def main() -> None:
    """Train, evaluate, and print the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", type=int, default=100)
    p.add_argument("--minutes", type=float, default=2)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--limit", type=int, default=400)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("runs/scoring"))
    p.add_argument("--json", type=Path, help="also write the figures here")
    given = p.parse_args()
    data = RefShapes("refshapes", "test")
    samples = [data[i] for i in range(given.limit)]
    full = np.mean([box_ops.iou(s.box, box_ops.denormalize(box_ops.FULL, s.query.image.size)) for s in samples])
    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for seed in range(given.seeds):
        for trained in ("dense", "lattice"):
            folder = given.out / f"{trained}-{given.scenes}-{given.minutes:g}-s{seed}"
            if not (folder / "best" / "agent.json").is_file():
                options = {"scoring": trained, "reward": "clip", "out": str(folder), "seed": seed, **WITHOUT_PROPOSALS}
                AgentTrainer(TrainConfig(
                    **options, minutes=given.minutes, dataset_options={"scenes": given.scenes}, eval_samples=80,
                    threads=given.threads,
                )).run()  # fmt: skip
            for evaluated in ("dense", "crop"):
                boxes = AgentGrounder(str(folder), scoring=evaluated).ground([s.query for s in samples])
                ious = [float(box_ops.iou(b.box, s.box)) for b, s in zip(boxes, samples, strict=True)]
                found.setdefault((trained, evaluated), []).append(np.array(ious))
                print(f"seed {seed}, trained on {trained}, evaluated on {evaluated}: {np.mean(ious):.3f}", flush=True)
    print(f"\nmean IoU over {given.seeds} seeds, {given.limit} expressions; full image (no-op) {full:.3f}")
    groups = [s.image_id for s in samples]
    figures = {
        f"{trained}, seed {seed}: {evaluated}": float(ious.mean())
        for (trained, evaluated), of_seeds in found.items()
        for seed, ious in enumerate(of_seeds)
    }
    for trained in ("dense", "lattice"):
        own, other = (np.mean(found[trained, evaluated], axis=0) for evaluated in ("dense", "crop"))
        change = metrics.paired_difference(other, own, groups)
        scores = f"evaluated on dense {own.mean():.3f}, on crop {other.mean():.3f}"
        print(f"trained on {trained:8} {scores}; crop - dense {change}")
        low, high = change["ci"]
        line = {"dense": own.mean(), "crop": other.mean(), "change": change["mean"], "from": low, "to": high}
        figures |= {f"{trained}: {name}": float(figure) for name, figure in line.items()}
    if given.json:
        write_figures(given.json, figures)


if __name__ == "__main__":
    run(main)
