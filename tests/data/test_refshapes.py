import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vg_gym import boxes as box_ops
from vg_gym.data.expressions import KINDS, NounPhrase, parse, sample_expressions, vocabulary
from vg_gym.data.refshapes import RefShapes, write_refcocog_layout
from vg_gym.data.scenes import COLOURS, FILLS, HOMES, LEVELS, SHAPES, SIZES
from vg_gym.errors import VGGymError
from vg_gym.registry import open_dataset


def literal_referents(text, scene):
    """An independent, slow reading of the language, by words: indices of the objects that are meant."""
    words = text.split()
    head, anchor = words, []
    for relation in ("left of", "right of", "above", "below", "nearest to"):
        before, found, after = text.partition(f" {relation} the ")
        if found:
            head, anchor, words = before.split(), after.split(), [relation]

    def fits(item, phrase):
        wanted = [w for w in phrase if w in {*SHAPES, *COLOURS, *FILLS, *SIZES}]
        return all(w in (item.shape, item.colour, item.fill, item.size) for w in wanted)

    fitting = [i for i, item in enumerate(scene) if fits(item, head)]
    if anchor:
        (at,) = [scene[i].centre for i, item in enumerate(scene) if fits(item, anchor)]
        anchor_index = next(i for i, item in enumerate(scene) if item.centre == at)
        fitting = [i for i in fitting if i != anchor_index]
        if words[0] == "nearest to":
            return [min(fitting, key=lambda i: np.hypot(*np.subtract(scene[i].centre, at)))]
        test = {
            "left of": lambda c: c[0] < at[0],
            "right of": lambda c: c[0] > at[0],
            "above": lambda c: c[1] < at[1],
            "below": lambda c: c[1] > at[1],
        }[words[0]]
        return [i for i in fitting if test(scene[i].centre)]
    best = {
        "leftmost": lambda s: s.centre[0],
        "rightmost": lambda s: -s.centre[0],
        "topmost": lambda s: s.centre[1],
        "bottommost": lambda s: -s.centre[1],
        "largest": lambda s: -s.side,
        "biggest": lambda s: -s.side,
        "smallest": lambda s: s.side,
    }
    if words[1] in best:
        return [min(fitting, key=lambda i: best[words[1]](scene[i]))]
    if "in the middle" in text:
        return [i for i in fitting if max(abs(scene[i].centre[0] - 0.5), abs(scene[i].centre[1] - 0.5)) < 0.25]
    for word, axis, low in (("left", 0, True), ("right", 0, False), ("top", 1, True), ("bottom", 1, False)):
        if word in head:
            fitting = [i for i in fitting if (scene[i].centre[axis] < 0.5) == low]
    return fitting


@pytest.mark.parametrize("name", LEVELS)
def test_every_expression_means_exactly_one_object(name):
    dataset = RefShapes(name, "test", scenes=150)
    for i in range(len(dataset)):
        sample = dataset[i]
        record = sample.query.image
        target, expression = record.expressions()[i % 4]
        scene = record.scene()
        assert parse(sample.query.expression) == expression
        assert expression.kind == sample.kind == KINDS[i % 4]
        assert expression.referents(scene) == expression.clearly(scene) == [target]
        assert literal_referents(sample.query.expression, scene) == [target]
        np.testing.assert_array_equal(record.boxes()[target], sample.box)


@settings(max_examples=300, deadline=None)
@given(index=st.integers(0, 10**6), seed=st.integers(0, 1000))
def test_sampled_expressions_of_any_scene_are_unambiguous(index, seed):
    scene = RefShapes("refshapes", "train", scenes=10**6 + 1, seed=seed).record(index).scene()
    rng = np.random.default_rng(index)
    for kind in KINDS:
        for target, expression in sample_expressions(scene, kind, rng, 4):
            assert expression.kind == kind
            assert literal_referents(expression.text, scene) == [target]
            assert set(expression.text.split()) <= set(vocabulary())
            if kind != "attribute":  # words beyond the noun phrase are needed
                head = NounPhrase(expression.head.shape, expression.head.colour, expression.head.fill)
                assert sum(head.fits(item) for item in scene) > 1


def test_the_checker_calls_an_ambiguous_expression_ambiguous():
    scene = RefShapes("refshapes", "train").record(0).scene()
    shape = next(s.shape for s in scene if sum(o.shape == s.shape for o in scene) > 1)
    assert len(parse(f"the {shape}").referents(scene)) > 1
    with pytest.raises(VGGymError, match="not a RefShapes expression"):
        parse("the wobbly thing")


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


def test_boxes_are_tight_and_apart():
    dataset = RefShapes("refshapes", "val", image_size=160)
    for index in range(40):
        record = dataset.record(index)
        boxes = record.boxes()
        assert box_ops.is_valid(boxes, record.size).all()
        overlaps = box_ops.iou_matrix(boxes, boxes)
        assert (overlaps[~np.eye(len(boxes), dtype=bool)] == 0).all()


def test_a_drawn_shape_fills_its_box():
    from vg_gym.data.scenes import Shape, draw_scene

    for shape in SHAPES:
        scene = (Shape(shape, "white", "large", "solid", (0.2, 0.3, 0.6, 0.8)),)
        bright = draw_scene(scene, np.random.default_rng(0), 200, 0.0).mean(axis=2) > 170
        ys, xs = np.nonzero(bright)
        np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [40, 60, 120, 160], atol=2)


def test_counts_of_the_vocabulary_and_objects():
    assert len(SHAPES) >= 8 and len(COLOURS) >= 9 and len(SIZES) == 3 and len(FILLS) == 2
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
    for sample in data:
        target, _ = sample.query.image.expressions()[sample.sent_id % 4]
        assert data.prior_agrees(sample) is sample.query.image.scene()[target].agrees
    assert RefShapes("refshapes", "val", scenes=1).prior_agrees(RefShapes("refshapes", "val", scenes=1)[0]) is None
