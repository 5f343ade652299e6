"""PPO in one file, in the style of CleanRL (Huang et al., JMLR 2022): it uses only Gymnasium's vector API and torch.

python examples/cleanrl_ppo.py --reward iou --total-timesteps 300000
"""

import argparse
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn
from torch.distributions import Categorical

import vg_gym  # noqa: F401  registers the environments


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--env", default="RefShapes-Ground-v0")
    p.add_argument("--reward", default="iou", help="iou, clip or clip+iou")
    p.add_argument("--scenes", type=int, default=500, help="number of RefShapes scenes")
    p.add_argument("--num-envs", type=int, default=64)
    p.add_argument("--num-steps", type=int, default=32, help="steps of a rollout")
    p.add_argument("--total-timesteps", type=int, default=300_000)
    p.add_argument("--learning-rate", type=float, default=7e-4)
    p.add_argument("--gamma", type=float, default=0.97)
    p.add_argument("--gae-lambda", type=float, default=0.9)
    p.add_argument("--update-epochs", type=int, default=4)
    p.add_argument("--minibatches", type=int, default=4)
    p.add_argument("--clip-coef", type=float, default=0.2)
    p.add_argument("--ent-coef", type=float, default=0.003)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


class Agent(nn.Module):
    """Actor for a MultiDiscrete space and critic, over the flattened observation."""

    def __init__(self, inputs: int, choices: list[int]):
        super().__init__()
        self.choices = choices
        self.trunk = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()
        )
        self.actor, self.critic = nn.Linear(256, sum(choices)), nn.Linear(256, 1)

    def forward(self, x: torch.Tensor, action: torch.Tensor | None = None):
        """Return actions, their log-probabilities, the entropy, and the value."""
        hidden = self.trunk(x)
        parts = [Categorical(logits=logits) for logits in self.actor(hidden).split(self.choices, dim=-1)]
        if action is None:
            action = torch.stack([part.sample() for part in parts], dim=-1)
        log_prob = sum(part.log_prob(a) for part, a in zip(parts, action.unbind(-1), strict=True))
        return action, log_prob, sum(part.entropy() for part in parts), self.critic(hidden)[..., 0]


def flat(observations: dict[str, np.ndarray]) -> torch.Tensor:
    """Concatenate the parts of a Dict observation."""
    return torch.from_numpy(np.concatenate([observations[name] for name in sorted(observations)], axis=1))


def main() -> None:
    """Collect rollouts, estimate advantages, update the network, and print the progress."""
    a = arguments()
    torch.manual_seed(a.seed)
    options = {"dataset_options": {"scenes": a.scenes}} if a.env.startswith("RefShapes") else {}
    envs = gym.make_vec(a.env, a.num_envs, reward=a.reward, autoreset_mode=AutoresetMode.SAME_STEP, **options)
    observations, _ = envs.reset(seed=a.seed)
    observed = flat(observations)
    agent = Agent(observed.shape[1], envs.single_action_space.nvec.tolist())
    optimizer = torch.optim.Adam(agent.parameters(), lr=a.learning_rate, eps=1e-5)
    updates, start = a.total_timesteps // (a.num_envs * a.num_steps), time.time()
    for update in range(1, updates + 1):
        optimizer.param_groups[0]["lr"] = a.learning_rate * (1 - (update - 1) / updates)
        steps, ious = [], []
        for _ in range(a.num_steps):
            with torch.no_grad():
                action, log_prob, _, value = agent(observed)
            observations, reward, terminated, truncated, infos = envs.step(action.numpy())
            done = terminated | truncated
            if "final_info" in infos:
                ious += infos["final_info"]["iou"][done].tolist()
            steps.append((observed, action, log_prob, value, torch.from_numpy(reward), torch.from_numpy(done)))
            observed = flat(observations)
        all_observed, actions, log_probs, values, rewards, dones = map(torch.stack, zip(*steps, strict=True))
        with torch.no_grad():
            following, advantages, running = agent(observed)[3], torch.zeros_like(rewards), 0.0
            for t in reversed(range(a.num_steps)):
                ahead = ~dones[t] * 1.0
                running = (
                    rewards[t] + a.gamma * following * ahead - values[t] + a.gamma * a.gae_lambda * ahead * running
                )
                advantages[t], following = running, values[t]
        returns = advantages + values
        batch = [x.flatten(0, 1) for x in (all_observed, actions, log_probs, advantages, returns)]
        for _ in range(a.update_epochs):
            for rows in torch.randperm(len(batch[0])).chunk(a.minibatches):
                s, act, old, adv, ret = (x[rows] for x in batch)
                _, new, entropy, value = agent(s, act)
                ratio, adv = (new - old).exp(), (adv - adv.mean()) / (adv.std() + 1e-8)
                gain = torch.min(ratio * adv, ratio.clamp(1 - a.clip_coef, 1 + a.clip_coef) * adv).mean()
                loss = -gain + 0.5 * (value - ret).square().mean() - a.ent_coef * entropy.mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()
        if update % 10 == 0 or update == updates:
            rate = update * a.num_envs * a.num_steps / (time.time() - start)
            print(
                f"{update * a.num_envs * a.num_steps:>9,} steps  IoU {np.mean(ious):.3f}  {rate:,.0f} steps/s",
                flush=True,
            )
    envs.close()


if __name__ == "__main__":
    main()
