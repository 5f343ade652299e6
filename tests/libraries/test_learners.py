"""Learning libraries that people bring: each learns a little, or is skipped where it is not installed."""

import subprocess
import sys
from functools import partial

import gymnasium as gym
import pytest
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import SubprocVecEnv

import vg_gym  # noqa: F401
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.envs.factory import make_engine

ID = "RefShapes-Ground-v0"
SMALL = {"dataset_options": {"scenes": 2}}


def needs(module, what):
    return pytest.importorskip(module, reason=f"{what}: pip install {module.split('.')[0]}")


@pytest.mark.parametrize(("algorithm", "options"), [(PPO, {}), (DQN, {"action": "edges"})])
def test_stable_baselines_with_its_own_vector_of_environments(algorithm, options):
    more = {"n_steps": 8, "batch_size": 16} if algorithm is PPO else {"learning_starts": 4, "buffer_size": 50}
    env = make_vec_env(ID, 2, env_kwargs={**SMALL, **options})
    model = algorithm("MultiInputPolicy", env, **more).learn(24)
    assert model.num_timesteps >= 24 and {"r", "l", "t"} <= model.ep_info_buffer[0].keys()


@pytest.mark.slow
def test_stable_baselines_over_spawned_processes():
    env = SubprocVecEnv([partial(gym.make, f"vg_gym:{ID}", **SMALL)] * 2, start_method="spawn")
    model = PPO("MultiInputPolicy", env, n_steps=8, batch_size=16, n_epochs=1)
    model.learn(16)
    assert model.num_timesteps == 16
    env.close()


def test_maskable_ppo_takes_no_masked_action():
    contrib = needs("sb3_contrib", "MaskablePPO")
    env = GroundingVecEnv(make_engine(4, action="edges", **SMALL))
    model = contrib.MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=32).learn(32)
    masks = model.rollout_buffer.action_masks.reshape(32, -1).astype(bool)
    taken = model.rollout_buffer.actions.reshape(32).astype(int)
    assert masks[range(32), taken].all()
    assert not masks.all()  # the trigger is too early, and nothing is outside the image


@pytest.mark.filterwarnings("ignore")
def test_torchrl():
    envs = needs("torchrl.envs", "TorchRL")
    env = envs.GymEnv(f"vg_gym:{ID}", **SMALL)
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
    from tianshou.utils.torch_utils import policy_within_training_step

    def make():
        return gym.wrappers.FlattenObservation(gym.make(ID, action="edges", **SMALL))

    envs, env = DummyVectorEnv([make, make]), make()
    net = Net(state_shape=env.observation_space.shape, action_shape=int(env.action_space.n), hidden_sizes=[16])
    policy = DiscreteQLearningPolicy(model=net, action_space=env.action_space)
    algorithm = DQN(policy=policy, optim=AdamOptimizerFactory(lr=1e-3))
    collector = Collector(algorithm, envs, VectorReplayBuffer(200, 2))
    collector.reset()
    assert collector.collect(n_step=40).n_collected_steps == 40
    before = [weights.clone() for weights in net.parameters()]
    with policy_within_training_step(policy):
        algorithm.update(collector.buffer, sample_size=16)
    assert any((a != b).any() for a, b in zip(net.parameters(), before, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "more"), [("ppo", []), ("dqn", ["action:'edges'"])])
def test_rl_zoo(algo, more, tmp_path):
    needs("rl_zoo3", "RL Baselines3 Zoo")
    command = ["-m", "rl_zoo3.train", "--algo", algo, "--env", ID, "--gym-packages", "vg_gym", "--conf-file",
               f"configs/zoo/{algo}.yml", "-n", "2100", "-f", str(tmp_path), "--eval-freq", "-1",
               "--env-kwargs", "dataset_options:{'scenes':2}", *more]  # fmt: skip
    subprocess.run([sys.executable, *command], check=True, timeout=300)
    assert (tmp_path / algo / f"{ID}_1" / f"{ID}.zip").is_file()


@pytest.mark.slow
def test_one_file_in_the_style_of_cleanrl():
    small = "--scenes 2 --num-envs 4 --num-steps 16 --total-timesteps 256"
    command = ["examples/cleanrl_ppo.py", *small.split()]
    done = subprocess.run([sys.executable, *command], check=True, timeout=300, capture_output=True, text=True)
    assert "256 steps  IoU" in done.stdout
