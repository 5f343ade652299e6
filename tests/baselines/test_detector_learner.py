"""Training a detector on rows whose objects have no category, or only some of them."""

import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym.baselines.detectors.detector_learner import DetectorConfig, DetectorLearner, class_names
from vg_gym.config import load_config
from vg_gym.data.own import OwnData
from vg_gym.registry import open_dataset


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
