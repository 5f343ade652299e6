"""GRPO with tools, with the example, on a tiny random vision-language model with a tokenizer made on the spot."""

import pytest

pytest.importorskip("trl", reason='needs pip install "vg_gym[trl]"')

import torch  # noqa: E402

from examples import grpo_agent  # noqa: E402
from experiments import agent_curves, tiny_agent  # noqa: E402
from vg_gym import boxes as box_ops  # noqa: E402
from vg_gym.language_models.grounding_tools import tools_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of trl and of what it loads
EPISODES = 4


@pytest.fixture(scope="module")
def start(shapes, tiny_clip, tmp_path_factory):
    """A model that has learned to call the tools in a few conversations; its processor, and the samples."""
    torch.set_num_threads(1)
    samples = [shapes[i] for i in range(EPISODES)]
    env = tools_of(dataset=samples, clip=tiny_clip, reward="iou", min_steps=1, size=tiny_agent.SIDE, pictures="first")()
    model, processor = tiny_agent.make([agent_curves.ask(env)])
    boxes = [1000 * box_ops.normalize(sample.box, sample.query.image.size) for sample in samples]
    played = [tiny_agent.conversation(env, boxes[i], i, boxes[i - 1] if i == 0 else None) for i in range(EPISODES)]
    agent_curves.warm_up(model, tiny_agent.batch_of(processor, played), 60, seed=0)
    return model, processor, samples, tiny_clip


def test_it_plays_with_tools_and_learns(start, tmp_path):
    """Conversations have several turns, their reward is the return of the episode, and the weights move."""
    model, processor, samples, clip = start
    outcomes = []

    def record(environments, index, completions, **columns):
        outcomes.extend(map(agent_curves.outcome, environments, index, completions))
        return [env.get_reward() for env in environments]

    words = [*agent_curves.OPTIONS, "--steps", "2", "--group", "2", "--prompts", "2", "--lr", "1e-3"]
    options = grpo_agent.parser().parse_args([*words, "--out", str(tmp_path)])
    options.clip = clip
    trainer = grpo_agent.make_trainer(options, model, processor, samples, reward_funcs=[record])
    before = {name: values.clone() for name, values in model.state_dict().items()}
    trainer.train()
    log = [line for line in trainer.state.log_history if "reward" in line]
    assert len(log) == 2 and any(line["tools/call_frequency"] > 0 for line in log)
    assert all(line["reward"] == pytest.approx(line["rewards/record/mean"], abs=1e-6) for line in log)
    assert any(one["tools"] for one in outcomes)
    assert any(not torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_wrong_calls_of_a_model_do_not_stop_the_trainer(start, tmp_path, monkeypatch):
    """A model whose calls have a wrong argument plays on, and each call costs a step."""
    model, processor, samples, clip = start
    call = '<tool_call>{"name": "place", "arguments": {"bax": [1]}}</tool_call><|im_end|>'
    ids = processor.tokenizer(call)["input_ids"]
    options = grpo_agent.parser().parse_args(
        [*agent_curves.OPTIONS, "--steps", "1", "--group", "2", "--prompts", "1", "--out", str(tmp_path)]
    )
    options.clip = clip
    trainer = grpo_agent.make_trainer(options, model, processor, samples)
    monkeypatch.setattr(trainer, "_generate_single_turn", lambda prompts, *a, **k: ([list(ids) for _ in prompts], None))
    trainer.train()
    for env in trainer.environments:
        assert env.rewards == pytest.approx([-env.face.env.engine.options.step_cost] * len(env.rewards))
        assert env.rewards
