"""Demonstrations: conversations with pictures, and the trainer that reads them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason='needs pip install "vg_gym[foundation]"')

from vg_gym.agents.publishing import demonstrations
from vg_gym.agents.publishing.demonstrations import Demonstrations, write_demonstrations
from vg_gym.errors import VGGymError

OPTIONS = {"reward": "iou", "max_steps": 5, "cache": False}


def written(out, tiny_clip, episodes=3, more=None, **what):
    options = Demonstrations("refshapes-easy", size=64, **what)
    return write_demonstrations(out, options, episodes, "the command", clip=tiny_clip, **OPTIONS, **(more or {}))


def lines(out):
    files = sorted((out / "lines").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize("calls", ["words", "tools"])
def test_conversations_alternate_and_their_pictures_are_there(tmp_path, tiny_clip, calls):
    totals = written(tmp_path, tiny_clip, mistakes=0.3, calls=calls)
    rows = lines(tmp_path)
    assert totals["episodes"] == len(rows) == 3 and totals["mistakes"] == sum(len(row["mistakes"]) for row in rows) > 0
    for row in rows:
        roles = [message["role"] for message in row["messages"]]
        answers = [message for message in row["messages"] if message["role"] == "assistant"]
        assert roles[0] == "user" and roles[1::2] == ["assistant"] * row["steps"] == ["assistant"] * len(answers)
        blocks = [part for message in row["messages"] for part in message["content"]]
        assert sum(part["type"] == "image" for part in blocks) == len(row["images"])
        assert all((tmp_path / name).is_file() for name in row["images"])
        assert all(number < len(answers) for number in row["mistakes"])
    assert "the command" in (tmp_path / "README.md").read_text()


def test_datasets_reads_messages_and_pictures(tmp_path, tiny_clip):
    datasets = pytest.importorskip("datasets", reason='needs pip install "vg_gym[trl]"')
    written(tmp_path / "out", tiny_clip)
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(rows) == 3 and rows[0]["images"][0].size == (64, 64) and rows[0]["mistakes"] == []
    assert rows[0]["messages"][1]["role"] == "assistant"


def test_pandas_reads_the_folder(tmp_path, tiny_clip):
    pandas = pytest.importorskip("pandas")
    written(tmp_path, tiny_clip)
    frame = pandas.read_parquet(tmp_path / "data")
    assert len(frame) == 3 and frame.steps.tolist() == [row["steps"] for row in lines(tmp_path)]
    picture = Image.open(io.BytesIO(frame.images[0][0]["bytes"]))
    assert picture.size == (64, 64) and (tmp_path / frame.images[0][0]["path"]).is_file()


def test_a_stopped_run_resumes_and_a_longer_one_extends(tmp_path, tiny_clip, monkeypatch):
    monkeypatch.setattr(demonstrations, "EPISODES_PER_FILE", 2)
    whole = written(tmp_path / "whole", tiny_clip, 3, mistakes=0.3)
    play, played = demonstrations._Player.play, []

    def stopping(self, index):
        played.append(index)
        if index == 2 and played.count(2) == 1:
            raise KeyboardInterrupt
        return play(self, index)

    monkeypatch.setattr(demonstrations._Player, "play", stopping)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "parts", tiny_clip, 3, mistakes=0.3)
    assert written(tmp_path / "parts", tiny_clip, 3, mistakes=0.3) == whole and played == [0, 1, 2, 2]
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    longer = written(tmp_path / "parts", tiny_clip, 4, mistakes=0.3)
    assert longer["episodes"] == 4 and played == [0, 1, 2, 2, 2, 3]
    assert lines(tmp_path / "parts")[:3] == lines(tmp_path / "whole")


def test_the_agent_corrects_a_mistake(tmp_path, tiny_clip):
    """The oracle's answers after random moves raise the IoU as those without."""
    written(tmp_path, tiny_clip, 6, mistakes=0.3)
    assert np.mean([row["iou"] for row in lines(tmp_path)]) > 0.5
    wrong = [row for row in lines(tmp_path) if row["mistakes"]]
    assert all(len({*row["mistakes"]}) == len(row["mistakes"]) < row["steps"] for row in wrong)


def test_errors(tmp_path, tiny_clip):
    for what, match in (({"mistakes": 1.5}, "mistakes=1.5"), ({"calls": "songs"}, "form of calls")):
        with pytest.raises(VGGymError, match=match):
            written(tmp_path, tiny_clip, **what)
    written(tmp_path, tiny_clip, 1)
    with pytest.raises(VGGymError, match="another mistakes; name another folder"):
        written(tmp_path, tiny_clip, 1, mistakes=0.2)
    with pytest.raises(VGGymError, match="must be between 1 and"):
        written(tmp_path, tiny_clip, 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("calls", ["words", "tools"])
def test_the_collator_of_trl_takes_them(tmp_path, tiny_clip, calls):
    pytest.importorskip("trl", reason='needs pip install "vg_gym[trl]"')
    from datasets import load_dataset
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from experiments import tiny_agent

    written(tmp_path / "out", tiny_clip, calls=calls)
    rows = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    processor = tiny_agent.make()[1]
    batch = DataCollatorForVisionLanguageModeling(processor)([rows[0], rows[1]])
    pictures = sum(len(rows[i]["images"]) for i in (0, 1))
    assert len(batch["image_grid_thw"]) == pictures and batch["labels"].shape == batch["input_ids"].shape
    said = processor.tokenizer.decode(batch["input_ids"][0])
    assert said.count("<|im_start|>assistant") == rows[0]["steps"] and ("<tool_call>" in said) == (calls == "tools")
