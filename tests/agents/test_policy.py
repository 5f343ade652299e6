import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecTransposeImage

from vg_gym.agents.checkpoint import policy_arguments
from vg_gym.agents.policy import GroundingExtractor, TextAttention, lower_trigger_bias
from vg_gym.agents.vec_env import GroundingVecEnv
from vg_gym.envs.factory import make_engine


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"glimpse_features": True, "phrases": True},
        {"observation": "pixels"},
        {"proposals": "ssd:refshapes", "proposal_features": True},
    ],
    ids=str,
)
def test_every_part_of_the_observation_reaches_the_features(options, shapes, tiny_clip):
    engine = make_engine(2, dataset=shapes, clip=tiny_clip, initial_box="random", **options)
    env = VecTransposeImage(GroundingVecEnv(engine))  # as SB3's algorithms wrap it: channels first
    torch.manual_seed(0)
    extractor = GroundingExtractor(env.observation_space, width=16)
    seen = {k: torch.as_tensor(v).float().requires_grad_() for k, v in env.reset().items()}
    features = extractor(seen)
    assert features.shape == (2, extractor.features_dim)
    features.square().sum().backward()
    unread = {name for name, values in seen.items() if values.grad is None}
    assert not unread


def test_text_attention_does_not_read_beyond_the_text():
    torch.manual_seed(0)
    attention = TextAttention(cells=5, dim=4, width=8, heads=2)
    cells, tokens = torch.randn(1, 20), torch.randn(1, 3, 4)
    padded = torch.cat([tokens, torch.zeros(1, 2, 4)], dim=1)
    torch.testing.assert_close(attention(cells, padded.flatten(1)), attention(cells, tokens.flatten(1)))
    assert not torch.allclose(attention(cells, tokens.flatten(1)), attention(cells, tokens[:, :2].flatten(1)))


@pytest.mark.parametrize("action", ["multi-edges", "edges", "continuous"])
def test_an_untrained_policy_seldom_pulls_the_trigger(action, shapes, tiny_clip):
    env = GroundingVecEnv(make_engine(64, dataset=shapes, clip=tiny_clip, action=action))

    def rate(lowered):
        model = PPO(
            "MultiInputPolicy", env, n_steps=2, batch_size=16, seed=0, policy_kwargs=policy_arguments("ppo", 16)
        )
        if lowered:
            lower_trigger_bias(model.policy, env.engine.actions)
        actions = np.concatenate([model.predict(env.reset())[0] for _ in range(8)])
        return env.engine.actions.apply(np.tile([0.2, 0.2, 0.8, 0.8], (len(actions), 1)).astype(np.float32), actions)[
            1
        ].mean()

    assert rate(lowered=True) < 0.7 * rate(lowered=False)
