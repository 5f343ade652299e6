"""The head that tells whether an expression means anything, trained on a frozen network."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from vg_gym import registry
from vg_gym.errors import VGGymError
from vg_gym.learned.presence_head import FILE
from vg_gym.learned.presence_learner import PresenceConfig, PresenceLearner, train_presence
from vg_gym.learned.weights import load_model, load_presence
from vg_gym.storage.assets import ASSETS

NETWORKS = ("mdetr", "transvg", "dynamic-mdetr", "red")


def small(folder, **changes):
    options = {"samples": 32, "validate_samples": 16, "batch_size": 16, "warmup": 2, "ema": 0.0, "threads": 1,
               "workers": 0, "learning_rate": 1e-3}  # fmt: skip
    return PresenceConfig(out=str(folder), **{**options, **changes})


def loss_of(learner):
    """Return the loss on the first batch."""
    return learner.losses(learner.batch(0))["presence"].item()


def test_the_head_learns_and_is_written_without_the_network(tmp_path):
    config = small(tmp_path / "run", weights="transvg-refshapes", steps=60, validate_every=30)
    learner = PresenceLearner(config)
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    first = loss_of(learner)
    folder = train_presence(config)
    learner.module = load_presence(folder, learner.network.options.dim)
    assert loss_of(learner) < 0.5 * first
    assert {path.name for path in folder.iterdir()} == {FILE, "metrics.json"}
    assert all((value == before[name]).all() for name, value in learner.network.state_dict().items())


@pytest.mark.parametrize("what", ["a tensor", "its contents"])
def test_a_damaged_head_is_named(what, tmp_path):
    folder = tmp_path / "red"
    shutil.copytree(ASSETS / "red-refshapes", folder)
    state = load_file(folder / FILE)
    state.pop("queries")
    save_file(state, folder / FILE)
    if what == "its contents":
        (folder / FILE).write_bytes(b"")
    with pytest.raises(VGGymError, match="1 missing .queries." if what == "a tensor" else "is damaged") as caught:
        load_model(folder)
    assert FILE in str(caught.value)


def test_data_in_which_all_is_meant_are_refused(tmp_path):
    with pytest.raises(VGGymError, match="no expression that means nothing; use dataset=refshapes-any"):
        PresenceLearner(small(tmp_path, dataset="refshapes"))


@pytest.mark.parametrize("name", NETWORKS)
def test_built_in_heads_tell_an_erased_object_from_a_present_one(name):
    assert load_file(ASSETS / f"{name}-refshapes" / FILE)
    samples = registry.open_dataset("refshapes-any", "val")[:64]
    scores = [prediction.score for prediction in registry.grounder(name).ground([s.query for s in samples])]
    some = [score for score, sample in zip(scores, samples, strict=True) if len(sample.boxes)]
    none = [score for score, sample in zip(scores, samples, strict=True) if not len(sample.boxes)]
    assert all(0 <= score <= 1 for score in scores)
    right = sum(high > low for high in some for low in none) / (len(some) * len(none))
    assert right > 0.9
