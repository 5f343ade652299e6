"""Training grounders: figures by kind, rates by part, resuming, several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.baselines.test_one_stage import config
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder_learner import GrounderLearner, judge, train_grounder
from vg_gym.learned.weights import load_model
from vg_gym.types import Prediction


class Oracle:
    """Right about everything but relations."""

    def __init__(self, samples):
        self.answers = {s.query.key: s.box * (s.kind != "relation") for s in samples}

    def ground(self, queries):
        return [Prediction(self.answers[query.key]) for query in queries]


def test_figures_are_broken_down_by_kind():
    samples = RefShapes("refshapes", "val", scenes=5)[:]
    figures = judge(Oracle(samples), samples)
    assert figures["mean_iou"] == pytest.approx(0.75) == figures["acc@0.5"]
    assert figures["acc@0.5/relation"] == 0 and figures["acc@0.5/size"] == 1


def test_pretrained_parts_have_a_rate_of_their_own(tmp_path):
    options = {"backbone": "resnet18", "image_size": 64, "stride": 32, "dim": 64, "heads": 2, "visual_layers": 1,
               "joint_layers": 1, "tokenizer": "clip", "max_tokens": 16, "backbone_weights": None,
               "text_weights": None}  # fmt: skip
    learner = GrounderLearner(config(tmp_path, "transvg", options=options, slow_lr=0.1, weight_decay=0.1))
    rates = {id(p): (g["lr"], g["weight_decay"]) for g in learner.groups(learner.config) for p in g["params"]}
    named = dict(learner.module.named_parameters())
    assert rates[id(named["visumodel.backbone.0.body.conv1.weight"])] == (1e-4, 0.1)
    assert rates[id(named["bbox_embed.layers.0.weight"])] == (1e-3, 0.1)
    assert rates[id(named["bbox_embed.layers.0.bias"])] == (1e-3, 0.0)
    assert len(rates) == len(named)


def test_an_interrupted_training_goes_on(tmp_path, monkeypatch):
    whole = load_model(train_grounder(config(tmp_path / "a", "transvg", steps=4)))[1]
    losses, count = GrounderLearner.losses, []

    def interrupted(self, batch):
        count.append(1)
        if len(count) == 3:
            raise KeyboardInterrupt
        return losses(self, batch)

    monkeypatch.setattr(GrounderLearner, "losses", interrupted)
    with pytest.raises(VGGymError, match="interrupted at step 2"):
        train_grounder(config(tmp_path / "b", "transvg", steps=4))
    monkeypatch.setattr(GrounderLearner, "losses", losses)
    resumed = load_model(train_grounder(config(tmp_path / "b", "transvg", steps=4, resume=True)))[1]
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_learn_what_one_does_with_twice_the_batch(tmp_path):
    given = config(tmp_path, "transvg", steps=3, dataset_options={"scenes": 12})
    root = Path(__file__).parents[2]
    for name, processes, batch in (("one", 1, 4), ("two", 2, 2)):
        settings = {**vars(given), "out": str(tmp_path / name), "batch_size": batch, "device": "cpu", "threads": 1}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({k: v for k, v in settings.items() if v is not None}))
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        command = [sys.executable, *launch, "train_grounder.py", str(tmp_path / f"{name}.yaml")]
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    start = dict(GrounderLearner(given).module.named_parameters())
    found = [load_file(tmp_path / name / "best.safetensors") for name in ("one", "two")]
    before, alone, together = (torch.cat([state[k].flatten() for k in start]) for state in (start, *found))
    assert (alone - before).norm() > 0.1
    assert (alone - together).norm() < 0.05 * (alone - before).norm()  # Adam makes much of rounding where a slope is 0
