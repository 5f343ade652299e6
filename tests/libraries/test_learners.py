"""Learning libraries that people bring: each learns a little, or is skipped where it is not installed."""

import subprocess
import sys
from functools import partial

import gymnasium as gym
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import SubprocVecEnv

import vg_gym  # noqa: F401
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.envs.factory import make_engine

ID = "RefShapes-Ground-v0"
SMALL = {"dataset_options": {"scenes": 2}}


def needs(module, what):
    return pytest.importorskip(module, reason=f"{what}: pip install {module.split('.')[0]}")


def test_stable_baselines_over_spawned_processes():
    env = SubprocVecEnv([partial(gym.make, f"vg_gym:{ID}", **SMALL)] * 2, start_method="spawn")
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1)
    model.learn(16)
    assert model.num_timesteps == 16
    env.close()


def test_maskable_ppo():
    contrib = needs("sb3_contrib", "MaskablePPO")
    model = contrib.MaskablePPO("MultiInputPolicy", GroundingVecEnv(make_engine(4, **SMALL)), n_steps=8, batch_size=32)
    model.learn(32)
    assert model.num_timesteps == 32


@pytest.mark.filterwarnings("ignore")
def test_torchrl():
    envs = needs("torchrl.envs", "TorchRL")
    env = envs.GymEnv(ID, **SMALL)
    envs.check_env_specs(env)
    assert env.rollout(5, break_when_any_done=False)["next", "reward"].shape == (5, 1)


@pytest.mark.filterwarnings("ignore")
def test_tianshou():
    needs("tianshou", "Tianshou")
    from tianshou.algorithm.modelfree.dqn import DQN, DiscreteQLearningPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.utils.net.common import Net

    def make():
        return gym.wrappers.FlattenObservation(gym.make(ID, action="edges", **SMALL))

    envs, env = DummyVectorEnv([make, make]), make()
    net = Net(state_shape=env.observation_space.shape, action_shape=int(env.action_space.n), hidden_sizes=[16])
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3))
    collector = Collector(algorithm, envs, VectorReplayBuffer(200, 2))
    collector.reset()
    assert collector.collect(n_step=40).n_collected_steps == 40


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "more"), [("ppo", []), ("dqn", ["action:'edges'"])])
def test_rl_zoo(algo, more, tmp_path):
    needs("rl_zoo3", "RL Baselines3 Zoo")
    command = ["-m", "rl_zoo3.train", "--algo", algo, "--env", ID, "--gym-packages", "vg_gym", "--conf-file",
               f"configs/zoo/{algo}.yml", "-n", "2100", "-f", str(tmp_path), "--eval-freq", "-1",
               "--env-kwargs", "dataset_options:{'scenes':2}", *more]  # fmt: skip
    subprocess.run([sys.executable, *command], check=True, timeout=300)
    assert (tmp_path / algo / f"{ID}_1" / f"{ID}.zip").is_file()


def test_one_file_in_the_style_of_cleanrl():
    command = [
        "examples/cleanrl_ppo.py",
        "--scenes",
        "2",
        "--num-envs",
        "4",
        "--num-steps",
        "16",
        "--total-timesteps",
        "256",
    ]
    done = subprocess.run([sys.executable, *command], check=True, timeout=300, capture_output=True, text=True)
    assert "256 steps  IoU" in done.stdout
