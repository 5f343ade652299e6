"""Speed on a GPU, in at most eight minutes; without one, the same measurements on the CPU at toy size.

python benchmarks/gpu.py [--json gpu.json] [--only tensor,crop,features,ppo,grounders] [--toy]

- tensor: steps/s of the tensor environment with 65,536 rows.
- crop: steps/s of scoring="crop" beside the rate of open_clip's ViT-B/32 alone, in bfloat16.
- features: images/s of dense features, of images of 640 x 480 that are in memory.
- ppo: steps/s and final IoU of examples/ppo_on_device.py, and of SB3's PPO with the same settings, for equal minutes.
- grounders: milliseconds a query of the built-in MDETR and box diffusion.

A part that would begin after the limit is left out, which the output and the file say.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from throughput import SCENES, encoded_rate, prepared, stepper, vit_b32
from timing import median_rate, median_rates

from vg_gym import registry
from vg_gym.agents.checkpoint import policy_arguments, policy_of
from vg_gym.agents.policy import lower_trigger_bias
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.clip.crop_scores import CropScores
from vg_gym.clip.crops import resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.config import options_from
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingTensorEnv, GroundingVectorEnv
from vg_gym.envs.banks import make_bank
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions

Rows = dict[str, Any]
EXAMPLE = Path(__file__).parents[1] / "examples" / "ppo_on_device.py"
PROGRESS = re.compile(r"([\d,]+) steps\s+([\d,]+)/s\s+iou ([\d.]+|nan)")
"""Line that the example prints after an update: steps, steps/s, mean final IoU."""
LIMIT_MINUTES = 8.0
"""Minutes after which no part begins."""
PPO_OPTIONS = {"n_steps": 16, "n_epochs": 4, "gamma": 0.97, "gae_lambda": 0.9, "ent_coef": 0.003, "clip_range": 0.2}
"""Settings of SB3's PPO, which are the example's defaults."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurements."""

    rows: int = 65_536
    """Rows of the tensor environment."""
    crops: int = 256
    """Crops in a batch, and rows of the environment that scores crops."""
    scenes: int = SCENES
    """Scenes of RefShapes."""
    ppo_rows: int = 4096
    """Rows of PPO's environment."""
    ppo_minutes: float = 1.0
    """Minutes of each of the two PPO."""
    batch: int = 8192
    """Steps in a minibatch of PPO."""
    queries: int = 1024
    """Queries of each grounder."""
    seconds: float = 1.0
    """Seconds of one of five measurements of a rate."""
    full_clip: bool = True
    """True for a ViT-B/32 with random weights, False for the built-in CLIP."""


TOY = Sizes(64, 4, 2, 16, 0.02, 64, 8, 0.02, False)
"""Sizes at which a CPU measures in seconds; the numbers mean nothing."""


def tensor(sizes: Sizes, device: str) -> Rows:
    """Measure steps/s of the tensor environment with random moves that rarely end an episode."""
    clip = load_clip("refshapes", device)
    data = RefShapes("refshapes", "val", scenes=sizes.scenes)
    env = GroundingTensorEnv(sizes.rows, dataset=data, clip=clip, bank=prepared(data, clip), device=device)
    env.reset(seed=0)
    moves = torch.randint(5, (16, sizes.rows, 5), device=device)
    moves[..., 4] = (torch.rand(16, sizes.rows, device=device) < 0.02).long()
    count = [0]

    def step() -> None:
        count[0] += 1
        env.step(moves[count[0] % 16])
        synchronize(device)

    return {f"steps/s, {sizes.rows} rows": median_rate(step, sizes.rows, sizes.seconds)}


def synchronize(device: str) -> None:
    """Wait until a GPU has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


def encoder(sizes: Sizes, device: str) -> ClipEncoder:
    """Return the CLIP whose speed is measured."""
    if not sizes.full_clip:
        return load_clip("refshapes", device)
    random = vit_b32()
    return ClipEncoder("random ViT-B-32", random.model, random.tokenizer, device=device)


def photograph() -> np.ndarray:
    """Return an image of 640 x 480."""
    return np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def crop(sizes: Sizes, device: str) -> Rows:
    """Measure scoring="crop" beside open_clip's model alone on as many crops that are ready on the device."""
    clip, count = encoder(sizes, device), sizes.crops
    pixels = clip.pixels(np.stack([resize(photograph(), clip.image_size)] * count))

    def encode() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            clip.model.encode_image(pixels)
        synchronize(device)

    low = np.random.default_rng(0).uniform(0, 200, (count, 2))
    boxes = np.concatenate([low, low + 200], axis=1).astype(np.float32)
    images = [clip.upload(photograph())] * count
    compared = {"alone": (encode, count), "regions": (lambda: clip.encode_regions(images, boxes), count)}
    alone, regions = median_rates(compared, sizes.seconds).values()
    data = RefShapes("refshapes", "val", scenes=min(16, sizes.scenes))
    env = GroundingVectorEnv(
        count, dataset=data, clip=clip, bank=prepared(data, clip), scoring="crop", score="cosine", device=device
    )
    walked = median_rate(stepper(env), count, sizes.seconds)
    env.engine.scorer.crops = CropScores(clip, "cosine", None, embeddings=1)
    encoded = encoded_rate(stepper(env), clip, seconds=5 * sizes.seconds)
    return {
        "open_clip alone, crops/s": alone,
        "crop, resize and encode, crops/s": regions,
        "share of open_clip's rate": regions / alone,
        f"scoring=crop, {count} rows, steps/s": walked,
        "crops/s in the environment without memory": encoded,
        "share of open_clip's rate in the environment": encoded / alone,
    }


def features(sizes: Sizes, device: str) -> Rows:
    """Measure images/s of dense features."""
    clip, images = encoder(sizes, device), [photograph()] * sizes.crops
    return {"images/s": median_rate(lambda: clip.encode_dense(images), sizes.crops, sizes.seconds)}


def ppo(sizes: Sizes, device: str) -> Rows:
    """Measure the example and SB3's PPO with the same settings, for the same minutes."""
    rows = {f"on the device, {name}": value for name, value in example(sizes, device).items()}
    rows |= {f"SB3, {name}": value for name, value in stable_baselines(sizes, device).items()}
    return rows | {"times as fast as SB3": rows["on the device, steps/s"] / rows["SB3, steps/s"]}


def example(sizes: Sizes, device: str) -> Rows:
    """Run examples/ppo_on_device.py, and read its last line of progress."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--device", device, "--minutes", str(sizes.ppo_minutes), "--num-envs", str(sizes.ppo_rows),
                 "--batch-size", str(sizes.batch), "--scenes", str(sizes.scenes), "--out", folder]  # fmt: skip
        command = [sys.executable, str(EXAMPLE), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = PROGRESS.findall(done.stdout)
    if done.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-400:]}")
    steps, rate, iou = (float(part.replace(",", "")) for part in lines[-1])
    return {"steps/s": rate, "steps": steps, "final IoU": iou}


class Until(BaseCallback):
    """Stop at a time, and collect the IoUs of the episodes that ended in the last rollout."""

    def __init__(self, end: float):
        super().__init__()
        self.end, self.ious, self.last = end, [], [np.nan]

    def _on_rollout_start(self) -> None:
        self.last, self.ious = self.ious or self.last, []

    def _on_step(self) -> bool:
        self.ious += [
            info["iou"] for info, done in zip(self.locals["infos"], self.locals["dones"], strict=True) if done
        ]
        return time.monotonic() < self.end


def stable_baselines(sizes: Sizes, device: str) -> Rows:
    """Train SB3's PPO on the environment that copies observations to the host."""
    data, options = RefShapes("refshapes", "train", scenes=sizes.scenes), options_from(EnvOptions, {"reward": "iou"})
    clip, episodes = load_clip("refshapes", device), Episodes(data)
    bank = make_bank(episodes, clip, options)
    bank.prepare(episodes.queries(), cache=True, progress=True)
    env = GroundingVecEnv(GroundingEngine(episodes, clip, sizes.ppo_rows, options, bank, tensors=False))
    model = PPO(policy_of("ppo"), env, learning_rate=7e-4, batch_size=sizes.batch, seed=0, device=device,
                policy_kwargs=policy_arguments("ppo", 192), **PPO_OPTIONS)  # fmt: skip
    lower_trigger_bias(model.policy, env.engine.actions)
    start = time.monotonic()
    watcher = Until(start + 60 * sizes.ppo_minutes)
    model.learn(10**12, callback=watcher)
    seconds = time.monotonic() - start
    iou = float(np.mean(watcher.ious or watcher.last))
    return {"steps/s": model.num_timesteps / seconds, "steps": float(model.num_timesteps), "final IoU": iou}


def grounders(sizes: Sizes, device: str) -> Rows:
    """Measure milliseconds a query of built-in grounders, four expressions an image, in one call."""
    data = RefShapes("refshapes", "test")
    queries = [data[row].query for row in range(sizes.queries)]
    rows: Rows = {}
    for name in ("mdetr", "diffusion"):
        grounder = registry.grounder(name, device=device)
        grounder.ground(queries[:4])
        start = time.perf_counter()
        grounder.ground(queries)
        rows[f"{name}, ms a query"] = 1000 * (time.perf_counter() - start) / len(queries)
    return rows


SECTIONS: dict[str, Callable[[Sizes, str], Rows]] = {
    "tensor": tensor, "crop": crop, "features": features, "ppo": ppo, "grounders": grounders,
}  # fmt: skip


def main() -> None:
    """Measure, print and write the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, help="file for the results")
    p.add_argument("--only", default=",".join(SECTIONS), help="parts, separated by commas")
    p.add_argument("--toy", action="store_true", help="toy size, also on a GPU")
    options = p.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sizes = TOY if options.toy or device == "cpu" else Sizes()
    figures: Rows = {"device": torch.cuda.get_device_name() if device == "cuda" else "CPU", "toy": sizes == TOY}
    begin = time.monotonic()
    for name in options.only.split(","):
        if time.monotonic() - begin > 60 * LIMIT_MINUTES:
            print(f"\n{name}: left out after {LIMIT_MINUTES:g} minutes")
            figures[f"{name}: left out"] = True
            continue
        rows = SECTIONS[name](sizes, device)
        figures |= {f"{name}: {what}": value for what, value in rows.items()}
        print(f"\n{name}, {figures['device']}{', toy size' * (sizes == TOY)}")
        for what, value in rows.items():
            print(f"  {what:60} {value:>14,.{0 if value >= 100 else 3}f}", flush=True)
    if device == "cuda":
        figures["highest memory of the device, GiB"] = torch.cuda.max_memory_allocated() / 2**30
    if options.json:
        write_figures(options.json, figures)


if __name__ == "__main__":
    run(main)
