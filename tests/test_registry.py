"""Every spec against the thing that it describes, and the errors of names."""

import subprocess
import sys
from configparser import ConfigParser
from inspect import Parameter, signature
from pathlib import Path

import numpy as np
import pytest

from vg_gym import registry
from vg_gym.config import check_options
from vg_gym.data.published_parquet import PUBLISHED_PARQUET
from vg_gym.data.published_rows import PUBLISHED_ROWS
from vg_gym.data.refcoco import PUBLISHED_SETS
from vg_gym.errors import VGGymError
from vg_gym.storage.assets import ASSETS
from vg_gym.types import Fitted, Grounder

TABLES = (registry.GROUNDERS, registry.PROPOSERS, registry.CEILINGS, registry.LEARNED, registry.DATASETS)
NO_ASSET = {"dynamic-mdetr-clip": "dynamic-mdetr-clip", "diffusion-vector": "diffusion"}
"""Grounders without built-in weights -> the network behind them."""
HUB_ONLY = {
    "grounding-dino", "mm-grounding-dino", "owlv2", "grounding-dino-clip", "owlv2-clip", "florence-2", "vlm",
    "api",
    "yolo-world", "yoloe", "llmdet", "sam3",
}  # fmt: skip
"""Grounders whose only default weights are published ones, which are fetched; tested with tiny ones of their own."""
EXTRAS = ConfigParser()
EXTRAS.read(Path(__file__).parents[1] / "setup.cfg")


@pytest.mark.parametrize(
    ("name", "spec"), [(f"{spec.factory} {name}", spec) for table in TABLES for name, spec in table.items()]
)
def test_a_spec_is_of_a_factory_that_takes_what_it_says(name, spec):
    parameters = signature(spec.load()).parameters
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    assert spec.fixed.keys() <= parameters.keys()
    assert takes_any or spec.options.keys() <= parameters.keys()
    assert not spec.fixed.keys() & spec.options.keys()
    assert spec.summary and {spec.extra, spec.published_extra} - {""} <= EXTRAS["options.extras_require"].keys()
    assert not spec.weights or (ASSETS / spec.weights).is_dir()
    if isinstance(spec, registry.GrounderSpec):
        assert spec.takes_clip == ("clip" in parameters)
        assert not spec.argument or spec.argument in parameters
        assert spec.proposer == spec.fixed.get("proposer", "")


def built(name):
    if name == "diffusion-ddpm":
        return registry.grounder(name, steps=2)  # its 50 take seconds
    return registry.grounder("agent:refshapes" if name == "agent" else name)


@pytest.mark.parametrize("name", sorted(registry.GROUNDERS.keys() - NO_ASSET - HUB_ONLY))
def test_a_grounder_can_what_its_spec_says(name, blind):
    spec, grounder = registry.GROUNDERS[name], built(name)
    assert isinstance(grounder, Grounder) and isinstance(grounder, Fitted) == spec.fitted
    boxes = np.tile(np.array([10, 10, 60, 60], dtype=np.float32), (2, 1))
    if spec.refines:
        assert len(grounder.ground(blind[:2], boxes)) == 2
    else:
        with pytest.raises(VGGymError, match="does not refine"):
            grounder.ground(blind[:2], boxes)


@pytest.mark.parametrize(("name", "network"), NO_ASSET.items())
def test_a_grounder_without_an_asset_refines_if_its_network_does(name, network):
    spec = registry.GROUNDERS[name]
    assert spec.refines == registry.network_class(network).refines and not spec.fitted


PUBLISHED = {**PUBLISHED_SETS, **PUBLISHED_PARQUET, **PUBLISHED_ROWS}


@pytest.mark.parametrize("name", PUBLISHED)
def test_splits_on_disk_are_the_published_ones(name):
    spec = registry.list_datasets()[name]
    assert spec.read_from_disk and spec.splits == tuple(PUBLISHED[name].splits)
    assert spec.licence and spec.size and "one" in spec.targets.split(", ")


def test_what_is_made_has_the_splits_of_its_spec():
    made = [name for name, spec in registry.DATASETS.items() if not spec.read_from_disk]
    assert made == [name for name in registry.DATASETS if name not in PUBLISHED]
    for name in made:
        for split in registry.DATASETS[name].splits:
            data = registry.open_dataset(name, split, scenes=1)
            assert (data.name, data.split, len(data) > 0) == (name, split, True)
        with pytest.raises(VGGymError, match="split"):
            registry.open_dataset(name, "dev")


BLOCKED = """
import sys
for name in {packages}:
    sys.modules[name] = None
from vg_gym import registry
from vg_gym.errors import VGGymError
for name, spec in registry.GROUNDERS.items():
    if name in {left_out}:
        continue
    try:
        options = {{"diffusion-ddpm": {{"steps": 2}}, "constant": {{"box": (0, 0, 1, 1)}}}}.get(name, {{}})
        registry.grounder(name, **options).ground([registry.open_dataset("refshapes", "val")[0].query])
        print(name, "works without")
    except VGGymError as error:
        assert spec.extra and f'pip install "vg_gym[{{spec.extra}}]"' in str(error), (name, error)
        print(name, "needs", spec.extra)
"""


def test_the_extra_of_a_spec_is_what_it_needs():
    packages = ["ultralytics", "transformers", "accelerate", "timm", "segment_anything", "skimage", "onnxruntime"]
    left_out = {*NO_ASSET, "agent", "api", "constant"}  # constant is fitted first; tests/baselines/test_api.py has api
    command = [sys.executable, "-c", BLOCKED.format(packages=packages, left_out=left_out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in registry.GROUNDERS.keys() - left_out:
        extra = registry.GROUNDERS[name].extra
        assert f"{name} {f'needs {extra}' if extra else 'works without'}" in done.stdout.splitlines()


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(registry.GROUNDERS, "needy", registry.GrounderSpec(f"{__name__}:needy", extra="pipelines"))
    with pytest.raises(VGGymError, match=r'^needy needs no_such_package: pip install "vg_gym\[pipelines\]"$'):
        registry.grounder("needy")
    monkeypatch.setitem(registry.GROUNDERS, "needy", registry.GrounderSpec(f"{__name__}:needy"))
    with pytest.raises(ModuleNotFoundError):
        registry.grounder("needy")


def needy():
    import no_such_package  # noqa: F401


class Mine:
    name = "mine"

    def __init__(self, clip="", size=1, folder=""):
        self.given = clip, size, folder

    def ground(self, queries, initial_boxes=None):
        return []


@pytest.fixture
def mine(monkeypatch):
    monkeypatch.setattr(registry, "GROUNDERS", dict(registry.GROUNDERS))
    return f"{__name__}:Mine"


def test_a_factory_alone_is_enough_to_register(mine):
    registry.register_grounder("mine", mine)
    assert registry.grounder("mine", size=2).given == ("", 2, "")
    assert registry.grounder_with_clip("mine", "refshapes").given == ("", 1, "")
    assert not registry.list_grounders()["mine"].takes_clip


def test_capabilities_are_declared_with_a_registration(mine):
    registry.register_grounder("mine", mine, takes_clip=True, argument="folder", options={"size": 3})
    assert registry.grounder_with_clip("mine:a:b", "refshapes").given == ("refshapes", 3, "a:b")
    assert registry.grounder_with_clip("mine", "refshapes", clip="other", size=4).given == ("other", 4, "")
    registry.register_grounder("mine", mine, fixed={"size": 5})
    assert registry.grounder("mine").given == ("", 5, "")
    with pytest.raises(VGGymError, match="unknown option of mine 'size': known: clip, folder"):
        registry.grounder("mine", size=6)
    with pytest.raises(TypeError, match="is_fast"):
        registry.register_grounder("mine", mine, is_fast=True)


def test_a_registered_data_set_has_its_splits(monkeypatch):
    monkeypatch.setattr(registry, "DATASETS", dict(registry.DATASETS))
    registry.register_dataset("mine", "vg_gym.data.worlds.refshapes.dataset:RefShapes", splits=("train",))
    assert registry.list_datasets()["mine"].splits == ("train",)
    with pytest.raises(VGGymError, match="unknown data set 'min': did you mean 'mine'"):
        registry.open_dataset("min", "train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("centre", "unknown grounder 'centre': did you mean 'center'"),
        ("center:0.5", "'center:0.5': center takes no argument"),
        ("mdetr:", "'mdetr:': mdetr takes an argument"),
    ],
)
def test_wrong_names_are_one_line(name, message):
    with pytest.raises(VGGymError, match=message):
        registry.grounder(name)


def test_other_wrong_names_are_one_line():
    with pytest.raises(VGGymError, match="unknown option of yolo-clip 'proposer'"):
        registry.grounder("yolo-clip", proposer="ssd")
    with pytest.raises(VGGymError, match="unknown proposer 'yol'"):
        registry.proposer("yol")
    with pytest.raises(VGGymError, match="unknown proposer 'yol'"):
        registry.proposer_spec("yol")
    with pytest.raises(VGGymError, match="unknown ceiling"):
        registry.ceiling("oracle")
    with pytest.raises(VGGymError, match="unknown learned grounder 'mdert'"):
        registry.network_class("mdert")
    with pytest.raises(VGGymError, match="no factory 'vg_gym.boxes'; name one as"):
        registry.Spec("vg_gym.boxes").load()


@pytest.mark.parametrize(
    ("name", "option", "value", "meaning"),
    [
        ("random", "seed", "x", "a whole number at least 0 and below"),
        ("random", "seed", True, "a whole number"),
        ("center", "fraction", 1.5, "a number between 0 and 1"),
        ("mdetr", "batch_size", 0, "a whole number at least 1"),
        ("seg-clip", "tau", float("nan"), "a finite number above 0 or none"),
        ("seg-clip", "counts", [12, 0], "a list, each a whole number at least 1"),
        ("yolo-clip", "parse", "maybe", "true or false"),
        ("clip-window", "score", 3, "a text"),
        ("clip-window", "largest", 0, "a number above 0 and at most 1"),
        ("diffusion-ddpm", "steps", 2.5, "a whole number at least 1"),
        ("agent:refshapes", "batch_size", 0, "a whole number at least 1"),
    ],
)
def test_a_wrong_value_of_an_option_is_named_when_a_grounder_is_built(name, option, value, meaning):
    with pytest.raises(VGGymError, match=f"^option {name.partition(':')[0]}.{option} is .*; it must be {meaning}"):
        registry.grounder(name, **{option: value})


@pytest.mark.parametrize("proposer_name", ["yolo", "detr", "ssd", "sam"])
def test_options_of_a_proposer_are_checked_by_way_of_its_pipeline(proposer_name):
    with pytest.raises(VGGymError, match=f"option {proposer_name}-clip.min_score is 2; it must be a number"):
        registry.grounder(f"{proposer_name}-clip", min_score=2)
    with pytest.raises(VGGymError, match=f"option of {proposer_name}-clip 'min_scor': did you mean 'min_score'"):
        registry.grounder(f"{proposer_name}-clip", min_scor=0.2)


def test_options_of_a_ceiling_are_checked():
    for options, message in (
        ({"coarse": "x"}, "action-oracle.coarse is 'x'"),
        ({"coars": 0.2}, "did you mean 'coarse'"),
    ):
        with pytest.raises(VGGymError, match=message):
            registry.ceiling("action-oracle", **options)


@pytest.mark.parametrize("table", [registry.GROUNDERS, registry.PROPOSERS, registry.CEILINGS])
def test_the_options_of_every_factory_can_be_checked(table):
    for name, spec in table.items():
        factory = spec.load()
        parameters = signature(factory).parameters.items()
        check_options(name, factory, {p: v.default for p, v in parameters if v.default is not Parameter.empty})
