"""Speed of the environment, of lower bounds and of the naive twin, as medians of five measurements.

python benchmarks/throughput.py [--json out.json] [--only raw,proposals,zoom,twin,crop,ppo,start,agreement]

- raw: steps/s with feature observations, built-in data, and the lower bounds of benchmarks/twins.py.
- proposals: the same with proposals, and with edge profiles, in the observation; runs alternate.
- zoom: the same with zoom=true, without a look and with a look of every sub-environment in every second step; runs
  alternate.
- twin: SB3's DummyVecEnv of eight environments that encode crops with a ViT-B/32; vg_gym with features of its size.
- crop: steps/s of scoring="crop" against the encoder alone on the same number of ready-made crops.
- ppo: SB3's PPO with the defaults of train_agent.py on this environment and on a null environment with the same spaces,
  and the shares of time for the environment, copies into and out of the rollout, updates, and the policy.
- start: `import vg_gym`, and `gymnasium.make` with the first reset, in new processes.
- agreement: dense against crop scores of random boxes of held-out expressions.

benchmarks/gpu.py measures on a GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from gymnasium.vector import AutoresetMode
from scipy.stats import spearmanr
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv
from timing import median_rate, median_rates, watch
from twins import NaiveEnv, NullVecEnv, numpy_floor, torch_floor

from vg_gym.agents.checkpoint import policy_arguments, policy_of
from vg_gym.agents.config import TrainConfig, env_options
from vg_gym.agents.policy import lower_trigger_bias
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.cli.figures import write_figures
from vg_gym.cli.run import run
from vg_gym.clip import load_clip
from vg_gym.clip.crop_scores import CropScores
from vg_gym.clip.crops import resize
from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.scores import score_boxes
from vg_gym.config import options_from
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.envs import GroundingEnv, GroundingVectorEnv
from vg_gym.envs.banks import make_bank
from vg_gym.envs.engine import GroundingEngine
from vg_gym.envs.episodes import Episodes
from vg_gym.envs.options import EnvOptions
from vg_gym.features.bank import FeatureBank
from vg_gym.runtime.devices import usable_cores, use_threads

Rows = dict[str, Any]
SCENES = 250


def some_actions(env: Any, count: int = 32, triggers: float = 0.02) -> list[np.ndarray]:
    """Return random actions that rarely end an episode, so that episodes last ten steps as in training."""
    rng = np.random.default_rng(0)
    actions = [env.action_space.sample() for _ in range(count)]
    for action in actions:
        action[:, 4] = rng.random(len(action)) < triggers
    return actions


def stepper(env: GroundingVectorEnv) -> Callable[[], Any]:
    """Return steps with random actions, including resets; every row was reset a few times before."""
    env.action_space.seed(0)
    env.reset(seed=0)
    actions, count = some_actions(env), [0]

    def step() -> None:
        count[0] += 1
        env.step(actions[count[0] % len(actions)])

    for _ in range(30):
        step()
    return step


def prepared(data: RefShapes, clip: ClipEncoder, **options: Any) -> FeatureBank:
    """Compute the features of all queries in memory."""
    bank = FeatureBank(clip, **options)
    bank.prepare([sample.query for sample in data], progress=True)
    return bank


def raw(clip: ClipEncoder) -> Rows:
    """Measure steps/s of the engine and of the lower bounds, which gather features for the same score."""
    data = RefShapes("refshapes", "val", scenes=SCENES)
    bank = prepared(data, clip)
    rows: Rows = {}
    for count in (8, 128, 1024):
        env = GroundingVectorEnv(count, dataset=data, clip=clip, bank=bank)
        rows[f"dense, {count} sub-environments"] = median_rate(stepper(env), count)
    same = GroundingVectorEnv(1024, autoreset_mode=AutoresetMode.SAME_STEP, dataset=data, clip=clip, bank=bank)
    rows["dense, 1024, same-step autoreset"] = median_rate(stepper(same), 1024)
    cosine = GroundingVectorEnv(1024, dataset=data, clip=clip, bank=bank, score="cosine")
    rows["dense, 1024, score=cosine"] = median_rate(stepper(cosine), 1024)
    actions = some_actions(env)
    for name, floor in (("numpy", numpy_floor), ("torch's fused gather", torch_floor)):
        for score in ("context", "cosine"):
            step = floor(env.engine, actions, ring=score == "context")
            rows[f"floor, {name}, {score}, 1024"] = median_rate(step, 1024)
    rows["share of numpy's floor, context"] = rows["dense, 1024 sub-environments"] / rows["floor, numpy, context, 1024"]
    rows["share of numpy's floor, cosine"] = rows["dense, 1024, score=cosine"] / rows["floor, numpy, cosine, 1024"]
    one, moves, count = GroundingEnv(dataset=data, clip=clip, bank=bank), actions[0], [0]
    one.reset(seed=0)

    def single() -> None:
        count[0] += 1
        _, _, terminated, truncated, _ = one.step(moves[count[0] % 1024])
        if terminated or truncated:
            one.reset()

    rows["dense, single environment"] = median_rate(single, 1)
    return rows


def with_proposals(clip: ClipEncoder) -> Rows:
    """Measure steps/s of 1,024 sub-environments that also observe proposals and edge profiles, and their share."""
    data, steps = RefShapes("refshapes", "val", scenes=SCENES), {}
    kinds: dict[str, dict[str, Any]] = {
        "dense, 1024": {},
        "with proposals": {"proposals": "ssd"},
        "with proposals and edge profiles": {"proposals": "ssd", "edge_profiles": True},
    }
    for name, options in kinds.items():
        episodes = Episodes(data)
        bank = make_bank(episodes, clip, EnvOptions(**options))
        bank.prepare(episodes.queries(), progress=True)
        env = GroundingVectorEnv(1024, dataset=data, clip=clip, bank=bank, **options)
        steps[name] = stepper(env), 1024
    rows: Rows = dict(median_rates(steps))
    plain = rows["dense, 1024"]
    return rows | {f"share of it {name}": rows[name] / plain for name in list(kinds)[1:]}


def with_zoom(clip: ClipEncoder) -> Rows:
    """Measure steps/s of 64 sub-environments without zoom, with it, and if all of them look closer in every step."""
    data, steps = RefShapes("refshapes", "val", scenes=16), {}
    bank, count = prepared(data, clip), 64
    for name, looks in (("dense, 64", None), ("zoom, no look", False), ("zoom, a look in every second step", True)):
        env = GroundingVectorEnv(count, dataset=data, clip=clip, bank=bank, zoom=looks is not None)
        steps[name] = (looker(env), 2 * count) if looks else (stepper(env), count)
    rows: Rows = dict(median_rates(steps))
    return rows | {
        "looks/s": rows["zoom, a look in every second step"] / 2,
        "share of it with zoom": rows["zoom, no look"] / rows["dense, 64"],
    }


def looker(env: GroundingVectorEnv) -> Callable[[], Any]:
    """Return pairs of steps: every sub-environment moves its box at random, then looks closer at a new region."""
    step, look = stepper(env), np.tile(env.engine.actions.look, (env.num_envs, 1))

    def pair() -> None:
        step()
        env.step(look)

    return pair


def vit_b32() -> ClipEncoder:
    """Return a ViT-B/32 with random weights, which is as fast as a trained one."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", device="cpu")
    return ClipEncoder("random ViT-B-32", model, open_clip.get_tokenizer("ViT-B-32"))


def twin(_: ClipEncoder) -> Rows:
    """Compare vg_gym with features of ViT-B/32's size and the twin that encodes in every step."""
    clip, data = vit_b32(), RefShapes("refshapes", "val", scenes=16)
    queries = [sample.query for sample in data]
    env = GroundingVectorEnv(1024, dataset=data, clip=clip, bank=prepared(data, clip), score="cosine")
    ours = median_rate(stepper(env), 1024)
    naive = DummyVecEnv([lambda: NaiveEnv(queries, clip)] * 8)
    naive.seed(0)
    naive.reset()
    actions = some_actions(GroundingVectorEnv(8, dataset=data, clip=clip))
    theirs = median_rate(lambda: naive.step(actions[0]), 8, seconds=2)
    names = ("dense, ViT-B/32-sized features, 1024", "naive twin, ViT-B/32, 8", "times as fast")
    return dict(zip(names, (ours, theirs, ours / theirs), strict=True))


def encoded_rate(step: Callable[[], Any], encoder: Any, seconds: float = 5.0) -> float:
    """Measure the crops per second that are encoded while an environment steps."""
    encode, counted = encoder.encode_regions, [0]

    def counting(images: Any, boxes: np.ndarray) -> np.ndarray:
        counted[0] += len(boxes)
        return encode(images, boxes)

    encoder.encode_regions = counting
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
    del encoder.encode_regions
    return counted[0] / (time.perf_counter() - start)


def crops(clip: ClipEncoder) -> Rows:
    """Measure steps/s of scoring="crop" on random walks, and of the encoder alone on as many crops."""
    rows: Rows = {}
    for name, encoder, count in (("built-in CLIP", clip, 64), ("built-in CLIP", clip, 8), ("ViT-B/32", vit_b32(), 8)):
        data = RefShapes("refshapes", "val", scenes=16)
        bank = prepared(data, encoder)
        env = GroundingVectorEnv(count, dataset=data, clip=encoder, bank=bank, scoring="crop", score="cosine")
        ours = median_rate(stepper(env), count)
        image = data[0].query.image.array()
        ready = [resize(image, encoder.crop_size)] * count
        alone = median_rate(lambda ready=ready, encoder=encoder: encoder.encode_crops(ready), count)
        env.engine.scorer.crops = CropScores(encoder, "cosine", None, embeddings=1)
        encoded = encoded_rate(stepper(env), encoder)
        rows |= {f"crop, {name}, {count}": ours, f"encoder alone, {name}, {count}": alone}
        rows[f"share of the encoder's throughput, {name}, {count}"] = ours / alone
        rows[f"share that is encoded where nothing is remembered, {name}, {count}"] = encoded / alone
    return rows


def ppo(clip: ClipEncoder) -> Rows:
    """Measure FPS and shares of time of the same PPO on this and on the null environment; runs alternate."""
    c, data = TrainConfig(), RefShapes("refshapes", "val", scenes=SCENES)
    options, episodes = options_from(EnvOptions, env_options(c)), Episodes(data)
    bank = make_bank(episodes, clip, options)
    bank.prepare(episodes.queries(), progress=True)
    env = GroundingVecEnv(GroundingEngine(episodes, clip, c.num_envs, options, bank))
    null = NullVecEnv(env.observation_space, env.action_space, c.num_envs)
    each, actions = c.n_steps * c.num_envs, env.engine.actions

    def learner(env: Any) -> PPO:
        model = PPO(policy_of("ppo"), env, n_steps=c.n_steps, batch_size=c.batch_size, n_epochs=c.n_epochs, seed=0,
                    policy_kwargs=policy_arguments("ppo", c.width))  # fmt: skip
        lower_trigger_bias(model.policy, actions)
        return model

    models = {
        f"PPO on ours, {c.num_envs} x {c.n_steps} steps": learner(env),
        "PPO on the null environment": learner(null),
    }
    steps = {
        name: (lambda model=model: model.learn(each, reset_num_timesteps=False), each) for name, model in models.items()
    }
    rows: Rows = dict(median_rates(steps, seconds=3))
    ours, alone = rows.values()
    rows["share"] = ours / alone
    rows |= shares_of_time(next(iter(models.values())), 3 * each)
    size = sum(part.shape[0] * part.dtype.itemsize for part in env.observation_space.values())
    return rows | {"rollout observations, MiB, float32": size * each / 2**20}


def shares_of_time(model: PPO, steps: int) -> Rows:
    """Return the shares of time of PPO: environment, copies of observations, updates, and policy."""
    seconds: dict[str, float] = {}
    watch(seconds, model.env, "step", "environment")
    watch(seconds, model.rollout_buffer, "add", "copies")
    watch(seconds, model.rollout_buffer, "_get_samples", "minibatches")
    watch(seconds, model, "train", "update")
    start = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    whole = time.perf_counter() - start
    seconds["update"] -= seconds["minibatches"]  # the update requests the minibatches
    seconds["copies"] += seconds.pop("minibatches")
    seconds["policy in rollouts, and the rest"] = whole - sum(seconds.values())
    return {f"share of the time, {name}": value / whole for name, value in seconds.items()}


def start(_: ClipEncoder) -> Rows:
    """Measure the seconds to start, in new processes."""
    make = "import gymnasium, vg_gym; gymnasium.make('RefShapes-Ground-v0').reset(seed=0)"
    rows: Rows = {}
    for name, code in (("import vg_gym", "import vg_gym"), ("import, make, first reset", make)):
        seconds = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            seconds.append(time.perf_counter() - begin)
        rows[f"{name}, s"] = float(np.median(seconds))
    return rows


def agreement(clip: ClipEncoder, queries: int = 200, boxes: int = 24) -> Rows:
    """Return the rank correlation of dense and crop scores over random boxes, half of them near the target.

    The correlation is within an expression of the test split. Both scores use the same boxes.
    """
    from vg_gym import boxes as box_ops
    from vg_gym.clip.region_features import summed_area

    rng, data = np.random.default_rng(0), RefShapes("refshapes", "test")
    found: dict[str, list[float]] = {"cosine": [], "context": []}
    for sample in (data[int(i)] for i in rng.choice(len(data), queries, replace=False)):
        low = rng.uniform(0, 0.8, (boxes // 2, 2))
        some = np.concatenate([low, low + rng.uniform(0.1, 0.2, low.shape)], axis=1)
        target = box_ops.normalize(sample.box, sample.query.image.size)
        near = target + rng.normal(0, 0.1, (boxes // 2, 4))
        probes = box_ops.fit_inside(np.concatenate([some, near]).astype(np.float32), min_side=0.04)
        text = clip.encode_text([sample.query.expression])
        table = summed_area(clip.encode_dense([sample.query.image.array()]))
        pixels = box_ops.denormalize(probes, sample.query.image.size)
        for name, kept in found.items():
            dense = score_boxes(name, table, text, probes[None])[0]
            by_crop = CropScores(clip, name, None)([sample.query] * boxes, pixels, np.tile(text, (boxes, 1)))[1]
            kept.append(float(spearmanr(dense, by_crop).statistic))
    return {f"rank correlation of dense and crop {name}, median of {queries} expressions": float(np.median(values))
            for name, values in found.items()}  # fmt: skip


SECTIONS = {
    "raw": raw, "proposals": with_proposals, "zoom": with_zoom, "twin": twin, "crop": crops, "ppo": ppo, "start": start,
    "agreement": agreement,
}  # fmt: skip


def main() -> None:
    """Measure, print and write the results."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--json", type=Path, help="file for the results")
    p.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    p.add_argument("--threads", type=int, default=0)
    given = p.parse_args()
    threads, clip = use_threads(given.threads or usable_cores()), load_clip("refshapes")
    found: Rows = {"threads": threads}
    for name in given.only.split(","):
        rows = SECTIONS[name](clip)
        found |= {f"{name}: {what}": value for what, value in rows.items()}
        print(f"\n{name}")
        for what, value in rows.items():
            print(f"  {what:75} {value:>14,.{0 if value >= 100 else 3}f}", flush=True)
    if given.json:
        write_figures(given.json, found)


if __name__ == "__main__":
    run(main)
