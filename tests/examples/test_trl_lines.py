"""The lines of docs/language-models.md for TRL, with a tiny model in place of the named one, and one step."""

import re
from pathlib import Path

import pytest

pytest.importorskip("trl", reason='needs pip install "vg_gym[trl]"')

from experiments import tiny_agent  # noqa: E402
from vg_gym.agents.publishing.demonstrations import Demonstrations, write_demonstrations  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs/language-models.md"
NAMED = "Qwen/Qwen3-VL-4B-Instruct"
TINY = {
    "max_steps=1000": "max_steps=1, num_generations=2, per_device_train_batch_size=2, bf16=False",
    "max_steps=100)": "max_steps=1, per_device_train_batch_size=2, bf16=False)",
    'dataset="refscenes"': 'dataset="refshapes-easy", clip=clip, size=64',
    'load_dataset("demos"': 'load_dataset("demos", cache_dir="cache"',
}
"""What the lines say -> what this test runs."""
pytestmark = pytest.mark.filterwarnings("ignore")  # of trl and of what it loads


def lines(section: str) -> str:
    """Return the Python lines of a section of the page."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def run(tmp_path, tiny_clip, monkeypatch):
    """Function that runs the lines of a section in an empty folder, and returns their names."""
    model, processor = tiny_agent.make()
    model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)

    def run(section):
        code, names = lines(section).replace(NAMED, str(tmp_path / "tiny")), {"clip": tiny_clip}
        for said, small in TINY.items():
            code = code.replace(said, small)
        exec(code, names)
        return names

    return run


def test_the_lines_of_trl_are_ten_and_train(run):
    assert len(lines("TRL").strip().splitlines()) <= 11  # one is empty
    trainer = run("TRL")["trainer"]
    assert trainer.state.global_step == 1 and "rewards/GroundingTools/mean" in trainer.state.log_history[0]


def test_the_lines_of_demonstrations_train(run, tmp_path, tiny_clip):
    options = Demonstrations("refshapes-easy", size=64, mistakes=0.2)
    write_demonstrations(tmp_path / "demos", options, 2, "", clip=tiny_clip, reward="iou", max_steps=2, cache=False)
    trainer = run("Demonstrations")["trainer"]
    assert trainer.state.global_step == 1 and trainer.state.log_history[-1]["train_loss"] > 0
