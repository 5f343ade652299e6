import numpy as np
import pytest

from tests.data.refcocog_layout import write_refcocog_layout
from vg_gym.data.worlds.refshapes.dataset import MAX_CACHED_SCENES, SPLITS, RefShapes
from vg_gym.data.worlds.refshapes.scenes import COLORS, FILLS, HOMES, SHAPES, SIZES
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset


def test_samples_are_a_pure_function_of_name_split_index_seed():
    first, again = RefShapes("refshapes", "val"), RefShapes("refshapes", "val", scenes=20)
    for i in (5, 3, 79):
        assert first[i].query == again[i].query
        np.testing.assert_array_equal(first[i].query.image.array(), again[i].query.image.array())
    assert first[0].query.image.array().shape == (128, 128, 3)
    assert RefShapes("refshapes", "val", seed=1)[0].query.key != first[0].query.key
    assert not np.array_equal(
        RefShapes("refshapes", "val", seed=1)[0].query.image.array(), first[0].query.image.array()
    )


def test_splits_share_no_scene():
    scenes = {split: {RefShapes("refshapes", split).record(i).scene() for i in range(300)} for split in
              ("train", "val", "test")}  # fmt: skip
    assert not scenes["train"] & scenes["val"] and not scenes["train"] & scenes["test"]
    assert len({RefShapes("refshapes", s)[0].image_id for s in scenes}) == 3


def test_a_pass_over_all_scenes_leaves_them_for_the_next():
    assert sum(SPLITS.values()) <= MAX_CACHED_SCENES, "with one scene too many, the cache drops the scene that is next"


def test_counts_of_the_vocabulary_and_objects():
    assert len(SHAPES) >= 8 and len(COLORS) >= 9 and len(SIZES) == 3 and len(FILLS) == 2
    counts = [len(RefShapes("refshapes", "train").record(i).scene()) for i in range(300)]
    assert min(counts) >= 3 and max(counts) == 9


def test_biased_plants_a_confounder_in_training_only():
    agree = {}
    for split in ("train", "test"):
        dataset = RefShapes("refshapes-biased", split)
        items = [item for i in range(200) for item in dataset.record(i).scene() if item.shape in HOMES]
        agree[split] = np.mean([item.agrees for item in items])
    assert agree["train"] > 0.8 and 0.4 < agree["test"] < 0.6


def test_bad_names_are_named():
    with pytest.raises(VGGymError, match="no split 'dev'"):
        open_dataset("refshapes", "dev")
    with pytest.raises(VGGymError, match="did you mean 'refshapes'"):
        open_dataset("refshape", "val")
    with pytest.raises(VGGymError, match="unknown options.*'size'"):
        open_dataset("refshapes", "val", size=3)
    with pytest.raises(VGGymError, match="seed=-1 must be in"):
        open_dataset("refshapes", "val", seed=-1)
    with pytest.raises(VGGymError, match="drawn, not read"):
        open_dataset("refshapes", "val", root="somewhere")
    with pytest.raises(IndexError):
        RefShapes("refshapes", "val", scenes=2)[8]


def test_written_to_disk_it_reads_as_refcocog(tmp_path):
    splits = [RefShapes("refshapes", split, scenes=3) for split in ("train", "val")]
    write_refcocog_layout(splits, tmp_path)
    with pytest.warns(UserWarning, match="80,?512"):
        back = open_dataset("refcocog-umd", "train", root=str(tmp_path))
    assert len(back) == 12
    expressions = {back[i].query.expression: back[i] for i in range(12)}
    for sample in splits[0]:
        np.testing.assert_allclose(expressions[sample.query.expression].box, sample.box, atol=1e-3)
        assert expressions[sample.query.expression].category == sample.category


def test_the_planted_prior_of_a_target_is_that_of_its_shape():
    data = RefShapes("refshapes-biased", "val", scenes=20)
    for number, sample in enumerate(data):
        record = data.record(number // 4)
        (target,) = record.references()[number % 4].targets
        assert data.prior_agrees(sample) is record.scene()[target].agrees
    assert RefShapes("refshapes", "val", scenes=1).prior_agrees(RefShapes("refshapes", "val", scenes=1)[0]) is None
