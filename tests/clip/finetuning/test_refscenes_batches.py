"""Batches from RefScenes: matches agree with the meanings of the texts in every scene of a batch."""

import numpy as np

from vg_gym import boxes as box_ops
from vg_gym.clip.finetuning.refscenes_batches import FIRST_GROUPS, RefScenesBatches, records_of_batch
from vg_gym.data.mirroring import mirror_words
from vg_gym.data.worlds.refscenes.chunks import SCENES_PER_CHUNK, labels_of
from vg_gym.data.worlds.refscenes.samples import RefScenes


def made(**changes):
    options = {"images": 8, "image_size": 64, "crop_size": 32, "texts": 12, "max_objects": 14, "seed": 1, **changes}
    return RefScenesBatches(RefScenes("train", scenes=8), **options)


def test_a_batch_is_a_pure_function_of_its_step():
    first, again = made(strength=1.0).batch(4), made(strength=1.0).batch(4)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.regions, again.regions)
    assert first.texts == again.texts


def test_expressions_keep_their_boxes_also_where_pictures_are_mirrored():
    batch, dataset = made().batch(0), RefScenes("train", scenes=8)
    records = records_of_batch(dataset, np.random.default_rng([1, 0]), 0, 8)
    seen = {False: 0, True: 0}
    for image, record in enumerate(records):
        labels = labels_of(record)
        truth = box_ops.normalize(np.array(labels.boxes, np.float32), labels.size)
        for words, _, (target,) in labels.expressions:
            for mirrored in (False, True):
                text = mirror_words(words) if mirrored else words
                box = box_ops.mirror(truth[target]) if mirrored else truth[target]
                for row in np.flatnonzero(batch.text_image == image):
                    if batch.texts[row] == text and np.allclose(batch.objects[image, batch.text_object[row]], box):
                        seen[mirrored] += 1
    assert seen[False] and seen[True]


def test_a_text_matches_one_thing_of_its_scene_and_no_other_kind():
    batch, dataset = made().batch(0), RefScenes("train", scenes=8)
    records = records_of_batch(dataset, np.random.default_rng([1, 0]), 0, 8)
    rows = np.arange(len(batch.texts))
    own = batch.match[rows, batch.text_image]
    assert (own.sum(1) == 1).all() and (own[rows, batch.text_object] == 1).all()
    assert set(np.unique(batch.match)) == {-1, 0, 1}
    assert not batch.match[:, ~batch.valid].any()
    kinds = [set(labels_of(record).kinds) for record in records]
    for row, text in enumerate(batch.texts):
        for image, others in enumerate(kinds):
            if "car" in text.split() and "car" not in others and image != batch.text_image[row]:
                assert not (batch.match[row, image] == 1).any()


def test_few_scenes_are_drawn_before_the_first_steps(rng):
    dataset = RefScenes("train", scenes=20_000)
    early = [record.index for _ in range(50) for record in records_of_batch(dataset, rng, 0, 16)]
    late = [record.index for _ in range(50) for record in records_of_batch(dataset, rng, 10_000, 16)]
    assert max(early) < FIRST_GROUPS * SCENES_PER_CHUNK < max(late) < 20_000
