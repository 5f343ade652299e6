"""GRPO with the example, on a tiny random vision-language model with a tokenizer made on the spot."""

import pytest

pytest.importorskip("trl", reason='needs pip install "vg_gym[trl]"')

import torch  # noqa: E402
import transformers  # noqa: E402

from examples import grpo_vlm  # noqa: E402
from experiments import tiny_models  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # of trl and of what it loads


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_models.qwen(tmp_path_factory.mktemp("qwen"))


def trained(model, out, *more):
    torch.set_num_threads(1)
    return grpo_vlm.main(
        ["--model", model, "--steps", "2", "--group", "2", "--limit", "4", "--length", "6", "--out", str(out), *more]
    )


def test_it_trains_logs_both_rewards_and_writes_a_model(model, tmp_path):
    log = trained(model, tmp_path, "--prompt", "{expression}")
    rewards = [(line["rewards/iou_reward/mean"], line["rewards/format_reward/mean"]) for line in log if "loss" in line]
    assert len(rewards) == 2 and all(0 <= value <= 1 for pair in rewards for value in pair)
    assert any(tmp_path.rglob("events.out.tfevents.*"))
    transformers.AutoModelForImageTextToText.from_pretrained(tmp_path)


def test_a_learning_rate_of_nothing_leaves_the_weights_alone(model, tmp_path):
    trained(model, tmp_path, "--lr", "0")
    before, after = (
        transformers.AutoModelForImageTextToText.from_pretrained(f).state_dict() for f in (model, tmp_path)
    )
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_good_group_raises_what_it_said(model, tmp_path, monkeypatch):
    """Rewards reach the weights: with one that likes short answers, they change."""
    monkeypatch.setattr(grpo_vlm, "format_reward", lambda completions, **_: [float(len(str(c))) for c in completions])
    trained(model, tmp_path, "--lr", "1e-3")
    before, after = (
        transformers.AutoModelForImageTextToText.from_pretrained(f).state_dict() for f in (model, tmp_path)
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)
