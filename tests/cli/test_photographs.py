"""Data that are not built in are photographs: published weights by default, a warning about built-in ones."""

import json
import re
import warnings

import gymnasium
import pytest
from PIL import Image

import vg_gym
from vg_gym import registry
from vg_gym.agents.config import TrainConfig, completed
from vg_gym.cli.entry import main
from vg_gym.clip import known_words, loader, published
from vg_gym.clip.finetuning.config import ClipTrainConfig
from vg_gym.envs.factory import make_engine
from vg_gym.errors import MissingWeights, VGGymError
from vg_gym.learned.grounder_learner import GrounderConfig
from vg_gym.registry.photographs import PUBLISHED_CLIP, drawn_clips, knows_drawn_only, weights_for

WORDS = ("the man with the dog", "the red circle", "the woman on the left")
OFFLINE = r"cannot load clip 'ViT-B-32:openai': .*clip=ViT-B-32-quickgelu:/path/to/\S+.bin \(.*--clip\)$"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No hub answers, and no data set was warned of."""

    def fail(*_, **__):
        raise RuntimeError("Failed to download weights for tag 'openai'")

    monkeypatch.setattr(published, "_create", fail)
    monkeypatch.setattr(known_words, "_warned", set())
    loader.forget_clips()
    yield
    loader.forget_clips()


@pytest.fixture
def mine(tmp_path, shapes):
    """A file of pictures with words of people."""
    rows = []
    for number, (sample, words) in enumerate(zip(shapes, WORDS, strict=False)):
        Image.fromarray(sample.query.image.array()).save(tmp_path / f"{number}.png")
        box = sample.box.tolist()
        rows.append(
            {"image": f"{number}.png", "expression": words, "box": box, "split": ("train", "val", "test")[number]}
        )
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def failed(capsys, *words) -> str:
    """The one line of a command that fails."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_offline_one_line_names_the_files(mine, tmp_path, capsys):
    out = ("--dataset", mine, "--out", tmp_path / "out")
    for command in (("evaluate", "--methods", "clip-window", *out), ("features", *out)):
        assert re.search(OFFLINE, failed(capsys, *command)), command
    for what in ("agent", "clip"):
        assert re.search(OFFLINE, failed(capsys, "train", what, f"dataset={mine}", f"out={tmp_path / what}")), what
    with pytest.raises(VGGymError, match=OFFLINE):
        gymnasium.make("RefShapes-Ground-v0", dataset=mine)


def test_without_a_clip_nothing_is_fetched(mine, tmp_path, capsys):
    main(["evaluate", "--methods", "random", "--dataset", mine, "--out", str(tmp_path / "out")])
    assert (
        "left out: crop metrics. No method takes a CLIP; --clip ViT-B-32:openai adds them." in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "out/results.json").read_text())["meta"]["clip"] == "none"


def test_the_published_clip_is_the_default(mine, tmp_path, tiny_clip, monkeypatch):
    names = []
    monkeypatch.setattr(loader, "_load_named", lambda name, device: names.append(name) or tiny_clip)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*drawn shapes only")
        main(["evaluate", "--methods", "clip-window", "--dataset", mine, "--out", str(tmp_path / "out")])
        assert gymnasium.make("RefShapes-Ground-v0", dataset=mine).unwrapped.engine.clip is tiny_clip
    assert names == [PUBLISHED_CLIP]
    assert json.loads((tmp_path / "out/results.json").read_text())["meta"]["clip"] == PUBLISHED_CLIP


def test_a_built_in_model_warns_once(mine, tmp_path):
    words = ["evaluate", "--methods", "clip-window", "--clip", "refshapes", "--dataset", mine, "--split", "all"]
    with pytest.warns(UserWarning, match="^clip-window with .*drawn shapes only.* man, with, dog, woman. For other"):
        main([*words, "--out", str(tmp_path / "out")])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*drawn shapes only")
        main([*words, "--out", str(tmp_path / "again")])
        gymnasium.make("RefShapes-Ground-v0", dataset=mine, clip="refshapes")


def test_an_environment_of_a_list_warns(mine):
    samples = vg_gym.registry.open_dataset(mine, "all")
    with pytest.warns(UserWarning, match="clip refshapes with its built-in weights .*man, with, dog"):
        gymnasium.make("RefShapes-Ground-v0", dataset=[samples[0]])


def test_an_opened_split_has_the_clip_of_its_world(monkeypatch):
    monkeypatch.setattr(known_words, "_warned", set())
    scenes = registry.open_dataset("refscenes", "test", scenes=4, image_size=128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make_engine(2, scenes).clip.name == "refscenes-regions"
    assert make_engine(2, registry.open_dataset("refshapes", "test", scenes=4)).clip.name == "refshapes"


def test_grounders_without_published_weights_need_some(mine, tmp_path, capsys):
    words = ("evaluate", "--methods", "mdetr", "--dataset", mine, "--out", tmp_path / "out")
    assert "built-in weights of mdetr know drawn shapes only" in failed(capsys, *words)
    with pytest.warns(UserWarning, match="^mdetr with its built-in weights"):
        main([*map(str, words), "mdetr.weights=refshapes"])


def test_configurations_complete_themselves(mine):
    assert completed(TrainConfig(dataset=mine)).clip == PUBLISHED_CLIP
    assert ClipTrainConfig(dataset=mine).completed().clip == PUBLISHED_CLIP
    assert ClipTrainConfig(dataset=mine, clip="refshapes").completed().clip == "refshapes"
    assert completed(TrainConfig()).clip == ClipTrainConfig().completed().clip == "refshapes"
    assert GrounderConfig(dataset=mine).network_options() == {"clip": PUBLISHED_CLIP}
    assert GrounderConfig(dataset=mine, options={"clip": "refshapes"}).network_options() == {"clip": "refshapes"}
    assert GrounderConfig(dataset=mine, model="dynamic-mdetr-clip").network_options() == {}
    assert GrounderConfig().network_options() == {}


def test_a_pipeline_names_all_its_files(monkeypatch):
    from vg_gym.baselines.detectors.base import missing_weights

    def load(weights="yolov8x.pt", **_):
        raise missing_weights("yolo", "yolov8x.pt", "❌ no network.", "/path/to/yolov8n.pt")

    monkeypatch.setattr("vg_gym.baselines.detectors.yolo.load_yolo", load)
    with pytest.raises(MissingWeights, match=r"no network. Without .*yolo.weights=.*CLIP ViT-B-32:openai .*clip=ARCH"):
        vg_gym.registry.grounder("yolo-clip", clip=PUBLISHED_CLIP)
    with pytest.raises(MissingWeights, match="refshapes for drawn shapes$"):
        vg_gym.registry.grounder("yolo-clip", clip="refshapes", weights="a.pt")


def test_what_knows_only_drawn_shapes():
    assert not knows_drawn_only("yolo-clip", PUBLISHED_CLIP, {})
    assert not knows_drawn_only("florence-2", "", {}) and not knows_drawn_only("agent:runs/latest", "", {})
    assert knows_drawn_only("yolo-words", "", {}) and not knows_drawn_only("yolo-words", "", {"weights": "yolov8x.pt"})


def test_built_in_weights_warn_on_the_other_world(monkeypatch):
    """RefScenes is built in, but the CLIP of RefShapes knows few of its words."""
    monkeypatch.setattr(known_words, "_warned", set())
    scenes = registry.open_dataset("refscenes", "test", scenes=4, image_size=128)
    with pytest.warns(UserWarning, match="clip refshapes with its built-in weights knows drawn shapes only"):
        known_words.warn_of_dataset(["clip refshapes"], "refscenes", scenes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known_words.warn_of_dataset(["clip refshapes"], "refscenes", scenes)  # once
        known_words.warn_of_dataset(["clip refshapes"], "refshapes", registry.open_dataset("refshapes", "test"))
        known_words.warn_of_dataset(drawn_clips("refscenes-regions", "refscenes"), "refscenes", scenes)


def test_each_world_has_its_own_weights():
    assert drawn_clips("refscenes-regions", "refscenes-any") == [] == drawn_clips("refshapes", "refshapes-hard")
    assert drawn_clips("refscenes-regions", "refshapes") == ["clip refscenes-regions"]
    assert weights_for("ssd-clip", {}, "refscenes") == weights_for("agent:refscenes", {}, "refscenes") == {}
    assert weights_for("transvg", {"weights": "refshapes"}, "refscenes") == {"weights": "refshapes"}
    assert not knows_drawn_only("agent:refscenes", "", {}, "refscenes")
    assert knows_drawn_only("agent:refshapes", "", {}, "refscenes")
    pipeline = registry.grounder("ssd-clip", clip="refscenes-regions")
    assert pipeline.settings["weights"] == "refscenes" and "giraffe" in pipeline.proposer.categories
    assert completed(TrainConfig(dataset="refscenes")).clip == "refscenes-regions"
    assert GrounderConfig(dataset="refscenes").network_options() == {"clip": "refscenes-regions"}
