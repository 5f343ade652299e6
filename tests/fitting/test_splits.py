"""The data sets of a training."""

import pytest

from tests.data.own import rows, write_images, write_rows
from vg_gym.errors import VGGymError
from vg_gym.fitting.config import DatasetFitConfig
from vg_gym.fitting.splits import open_splits


def test_options_are_of_the_training_split_alone():
    train, val = open_splits(DatasetFitConfig(dataset_options={"scenes": 7}))
    assert (train.split, len(train), val.split) == ("train", 28, "val") and len(val) > 28
    assert open_splits(DatasetFitConfig(validate_split="test"))[1].split == "test"


def test_a_data_set_that_is_not_there_is_named():
    with pytest.raises(VGGymError, match="did you mean 'refshapes'"):
        open_splits(DatasetFitConfig(dataset="refshape"))


@pytest.mark.parametrize("bare", ["train", "val"])
def test_rows_without_boxes_are_refused(tmp_path, bare):
    write_images(tmp_path / "images")
    split_rows = {split: rows(split=split) for split in ("train", "val")}
    for row in split_rows[bare]:
        del row["box"]
    path = write_rows(tmp_path / "mine.jsonl", [row for own in split_rows.values() for row in own])
    with pytest.raises(VGGymError, match=rf"mine\.jsonl/{bare} has no boxes, .*; add them .*reward=clip"):
        open_splits(DatasetFitConfig(dataset=str(path)))
