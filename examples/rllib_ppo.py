"""PPO of Ray RLlib on the batched environment, on one or more processes or machines.

python examples/rllib_ppo.py --scenes 200 --iterations 20
python examples/rllib_ppo.py --env-runners 8 --num-envs 64 --iterations 500
RAY_ADDRESS=HOST:6379 python examples/rllib_ppo.py --env-runners 64        # a cluster

Each env runner steps one ``gymnasium.make_vec`` environment of ``--num-envs`` rows. The network is that of
train_agent.py, so the Dict observation needs no flattening. Requires pip install -e ".[rllib]".
"""

import argparse
import logging
import time

import gymnasium as gym
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchMultiCategorical
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import nn

from vg_gym.agents.policy import GroundingExtractor


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--env", default="RefShapes-Ground-v0", help="registered id (default: %(default)s)")
    p.add_argument("--root", help="folder of the data set on disk")
    p.add_argument("--features", default="", help="store made by vg-gym features, shared by all processes")
    p.add_argument(
        "--scenes", type=int, default=1000, help="RefShapes scenes; 4 expressions each (default: %(default)s)"
    )
    p.add_argument("--reward", default="iou", help="iou, clip or clip+iou (default: %(default)s)")
    p.add_argument("--iterations", type=int, default=50)
    p.add_argument("--num-envs", type=int, default=128, help="rows of each environment (default: %(default)s)")
    p.add_argument(
        "--env-runners", type=int, default=0, help="processes that play; 0: the process of the learner (default)"
    )
    p.add_argument("--rollout", type=int, default=16, help="steps of each row between updates (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


class GroundingModule(TorchRLModule, ValueFunctionAPI):
    """Policy and value over the features of :class:`vg_gym.agents.policy.GroundingExtractor`."""

    def setup(self):
        """Build the network for the spaces of one row."""
        choices = [int(n) for n in self.action_space.nvec]
        self.action_dist_cls = TorchMultiCategorical.get_partial_dist_cls(input_lens=choices)
        self.features = GroundingExtractor(self.observation_space)
        self.policy = self.head(sum(choices))
        self.value = self.head(1)
        with torch.no_grad():
            self.policy[-1].weight *= 0.01
            self.policy[-1].bias.zero_()
            self.policy[-1].bias[-1] -= 3  # the trigger: learn to move before learning to stop

    def head(self, size: int) -> nn.Sequential:
        """Apply one hidden layer."""
        return nn.Sequential(nn.Linear(self.features.features_dim, 192), nn.Tanh(), nn.Linear(192, size))

    def _forward(self, batch, **_):
        features = self.features(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: self.policy(features), Columns.EMBEDDINGS: features}

    def compute_values(self, batch, embeddings=None):
        """Return V(s) for the advantages and the loss."""
        features = self.features(batch[Columns.OBS]) if embeddings is None else embeddings
        return self.value(features).squeeze(-1)


class GroundingMetrics(RLlibCallback):
    """Metrics of the environment at the end of an episode."""

    def on_episode_end(self, *, episode, metrics_logger, **_):
        """Log the final IoU and whether it exceeds 0.5, if the data has labels."""
        info = episode.get_infos(-1)
        for name in ("iou", "is_success"):
            if name in info:
                metrics_logger.log_value(name, float(info[name]), window=1000)


def configuration(args: argparse.Namespace) -> PPOConfig:
    """Return the PPO configuration with the hyperparameters of train_agent.py."""
    options = {"reward": args.reward, "root": args.root, "features": args.features}
    if args.env.startswith("RefShapes"):
        options["dataset_options"] = {"scenes": args.scenes}
    batch = args.rollout * args.num_envs * max(1, args.env_runners)
    return (
        PPOConfig()
        # "vg_gym:" makes Gymnasium import the package, which registers the id, in every process.
        .environment(f"vg_gym:{args.env}", env_config=options)
        .env_runners(
            num_env_runners=args.env_runners,
            num_envs_per_env_runner=args.num_envs,
            gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
            rollout_fragment_length=args.rollout,
        )
        .training(
            train_batch_size_per_learner=batch,
            minibatch_size=min(512, batch),
            num_epochs=4,
            lr=7e-4,
            gamma=0.97,
            lambda_=0.9,
            clip_param=0.2,
            entropy_coeff=0.003,
            vf_loss_coeff=0.5,
            use_kl_loss=False,
            grad_clip=0.5,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=GroundingModule))
        .callbacks(GroundingMetrics)
        .debugging(seed=args.seed, log_level="ERROR")
    )


def main() -> None:
    """Train and print one line per iteration."""
    args = arguments()
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)  # hides a message about API versions at every start
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    algorithm = configuration(args).build_algo()
    start, steps = time.monotonic(), 0
    for iteration in range(1, args.iterations + 1):
        played = algorithm.train()["env_runners"]
        steps += int(played["num_env_steps_sampled"])
        rate = steps / (time.monotonic() - start)
        means = {name: played.get(name, float("nan")) for name in ("episode_return_mean", "iou", "is_success")}
        print(
            f"{iteration:4} {steps:>9,} steps {rate:>7,.0f}/s  return {means['episode_return_mean']:+.3f}  "
            f"IoU {means['iou']:.3f}  success {means['is_success']:.3f}",
            flush=True,
        )
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
