"""Training a detector on rows whose objects have no category, or only some of them."""

import pytest
from safetensors.torch import load_file

from tests.data.own import rows, write_images, write_rows
from vg_gym.baselines.detectors.detector_learner import DetectorConfig, DetectorLearner, class_names
from vg_gym.config import load_config
from vg_gym.data.own import OwnData
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset
from vg_gym.storage.assets import ASSETS


@pytest.mark.parametrize(
    ("categories", "names"), [([], ("object",)), (["man", None], ("man", "object")), (["man"], ("man",))]
)
def test_objects_without_a_category_are_objects(categories, names, tmp_path):
    write_images(tmp_path / "images")
    own = rows()
    for number, row in enumerate(own):
        if categories and (category := categories[number % len(categories)]):
            row["category"] = category
    own = [{**row, "split": split} for row in own for split in ("train", "val")]
    path = write_rows(tmp_path / "mine.jsonl", own)
    assert class_names([(OwnData(path, "all"), 9)]) == names
    learner = DetectorLearner(load_config(DetectorConfig, ["ssd_refshapes", f"dataset={path}", "batch_size=2"]))
    assert learner.names == names and all(len(labels) for labels in learner.train.labels)
    learner.module.train()
    assert all(loss.isfinite() for loss in learner.losses(learner.batch(0)).values())


def test_built_in_data_have_their_own_classes_alone():
    shapes = open_dataset("refshapes", "val")
    assert class_names([(shapes, 3)]) == shapes.categories


def test_a_detector_starts_from_the_weights_that_fit():
    """The boxes of RefShapes' detector are a start for other classes, whose weights stay random."""
    options = ["ssd_refscenes", "dataset_options.scenes=8", "images=2", "validate_images=2"]
    scratch, warm = (
        DetectorLearner(load_config(DetectorConfig, [*options, f"init_from={start}"])).module.state_dict()
        for start in ("null", "refshapes")
    )
    built_in = load_file(ASSETS / "ssd-refshapes/model.safetensors")
    fitting = [name for name in warm if warm[name].shape == built_in[name].shape]
    others = sorted(warm.keys() - set(fitting))
    assert any("regression_head" in name for name in fitting) and all("classification_head" in name for name in others)
    assert all((warm[name] == built_in[name].to(warm[name].dtype)).all() for name in fitting)
    assert others and all((warm[name] == scratch[name]).all() for name in others)


def test_a_start_that_does_not_exist_is_an_error(tmp_path):
    options = ["ssd_refscenes", "dataset_options.scenes=8", "images=2", "validate_images=2", f"init_from={tmp_path}"]
    with pytest.raises(VGGymError, match="holds no trained detector"):
        DetectorLearner(load_config(DetectorConfig, options))
