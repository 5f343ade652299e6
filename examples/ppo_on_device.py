"""PPO with environment, features, rollouts and network on one device. Observations are never copied to the host.

python examples/ppo_on_device.py --device cuda --num-envs 4096 --minutes 10
python examples/ppo_on_device.py --minutes 3                        # on a CPU
python evaluate.py --methods agent:runs/on-device --dataset refshapes --out results/on-device

One file, top to bottom: proximal policy optimisation (Schulman et al., 2017) with generalised advantage estimates
(Schulman et al., 2016) over vg_gym's tensor environment. Network and saved files are those of train_agent.py.
"""

import argparse
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from stable_baselines3.common.utils import set_random_seed

from vg_gym.agents.checkpoint import ALGORITHMS, policy_arguments, save_agent
from vg_gym.agents.policy import lower_trigger_bias
from vg_gym.cli.run import run
from vg_gym.config import options_from
from vg_gym.envs import GroundingTensorEnv
from vg_gym.envs.options import EnvOptions


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dataset", default="refshapes")
    p.add_argument("--root", help="folder of the data set on disk")
    p.add_argument("--clip", default="refshapes")
    p.add_argument("--features", default="", help="store made by vg-gym features")
    p.add_argument("--scenes", type=int, default=1000, help="number of RefShapes scenes")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--minutes", type=float, default=10)
    p.add_argument("--num-envs", type=int, default=256)
    p.add_argument("--rollout", type=int, default=16, help="steps between updates")
    p.add_argument("--batch-size", type=int, default=1024)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--lr", type=float, default=7e-4)
    p.add_argument("--gamma", type=float, default=0.97)
    p.add_argument("--gae-lambda", type=float, default=0.9)
    p.add_argument("--ent-coef", type=float, default=0.003)
    p.add_argument("--clip-range", type=float, default=0.2)
    p.add_argument("--reward", default="iou")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("runs/on-device"))
    return p.parse_args()


def main() -> None:
    """Train, print the progress, and save the agent."""
    c = arguments()
    set_random_seed(c.seed)
    drawn = {"scenes": c.scenes} if c.dataset.startswith("refshapes") else {}
    env = GroundingTensorEnv(
        c.num_envs, dataset=c.dataset, root=c.root, clip=c.clip, features=c.features, device=c.device, reward=c.reward,
        dataset_options=drawn,
    )  # fmt: skip
    print(f"features of {len(env.engine.episodes):,} expressions", flush=True)
    env.engine.features.prepare(env.engine.episodes.queries(), cache=True, progress=True)
    policy = ALGORITHMS["ppo"].policy_aliases["MultiInputPolicy"](
        env.single_observation_space, env.single_action_space, lambda _: c.lr, **policy_arguments("ppo", 192)
    ).to(env.device)  # fmt: skip
    lower_trigger_bias(policy, env.engine.actions)

    observation, steps, start = env.reset(c.seed), 0, time.monotonic()
    while (progress := (time.monotonic() - start) / (60 * c.minutes)) < 1:
        for group in policy.optimizer.param_groups:
            group["lr"] = c.lr * (1 - 0.95 * progress)
        observation, rollout, ious = gather(env, policy, observation, c)
        update(policy, rollout, c)
        steps += c.num_envs * c.rollout
        rate = steps / (time.monotonic() - start)
        iou, length = ious.mean().item(), c.num_envs * c.rollout / max(1, len(ious))
        print(f"{progress:4.0%} {steps:>11,} steps {rate:>8,.0f}/s  iou {iou:.3f}  length {length:.1f}")
    about = {"algo": "ppo", "width": 192, "clip": c.clip, "dataset": c.dataset, "seed": c.seed, "steps": steps,
             "env": vars(options_from(EnvOptions, {"reward": c.reward}))}  # fmt: skip
    save_agent(c.out / "best", SimpleNamespace(policy=policy), about)
    print(f"saved: python evaluate.py --methods agent:{c.out} --dataset {c.dataset} --out results/on-device")


@torch.no_grad()
def gather(env: GroundingTensorEnv, policy, observation, c):
    """Play ``c.rollout`` steps.

    Args:
        env: environment of N rows.
        policy: policy that plays.
        observation: observation of all rows at the end of the last rollout.
        c: arguments of the command line.

    Returns:
        The next observation; observations, actions, log probabilities, advantages and returns, flattened over steps and
        rows; the final IoUs of the episodes that ended.
    """
    steps, ious = [], []
    for _ in range(c.rollout):
        actions, values, log_probs = policy(observation)
        following, reward, terminated, truncated, infos = env.step(actions)
        rows = infos["final_rows"]
        if len(rows):  # for an episode truncated by max_steps, the last value replaces the missing rewards
            cut = truncated[rows].float()
            reward[rows] += c.gamma * cut * policy.predict_values(infos["final_obs"])[:, 0]
            ious.append(infos["iou"][rows])
        steps.append((observation, actions, values[:, 0], log_probs, reward, (terminated | truncated).float()))
        observation = following
    observations, actions, values, log_probs, rewards, dones = zip(*steps, strict=True)
    after, advantage, advantages = policy.predict_values(observation)[:, 0], 0, []
    for value, reward, done in zip(values[::-1], rewards[::-1], dones[::-1], strict=True):
        delta = reward + c.gamma * after * (1 - done) - value
        advantage = delta + c.gamma * c.gae_lambda * (1 - done) * advantage
        advantages.append(advantage)
        after = value
    advantages, values = torch.cat(advantages[::-1]), torch.cat(values)
    flat = {name: torch.cat([step[name] for step in observations]) for name in observation}
    rollout = (flat, torch.cat(actions), torch.cat(log_probs), advantages, advantages + values)
    return observation, rollout, torch.cat(ious or [advantages[:0]])


def update(policy, rollout, c) -> None:
    """Update the policy with a few epochs of minibatches from a rollout."""
    observations, actions, old, advantages, returns = rollout
    for _ in range(c.epochs):
        for rows in torch.randperm(len(actions), device=actions.device).split(c.batch_size):
            batch = {name: part[rows] for name, part in observations.items()}
            values, log_probs, entropy = policy.evaluate_actions(batch, actions[rows])
            gain = advantages[rows]
            gain = (gain - gain.mean()) / (gain.std() + 1e-8)
            ratio = (log_probs - old[rows]).exp()
            clipped = ratio.clamp(1 - c.clip_range, 1 + c.clip_range)
            loss = -torch.min(gain * ratio, gain * clipped).mean()
            loss = loss + 0.5 * (returns[rows] - values[:, 0]).pow(2).mean() - c.ent_coef * entropy.mean()
            policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            policy.optimizer.step()


if __name__ == "__main__":
    run(main)
