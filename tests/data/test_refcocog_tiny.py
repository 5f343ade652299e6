"""The reader of RefCOCOg on files in its layout that come with the tests: what is read is what was drawn."""

import json
import pickle
import pickletools

import numpy as np
import pytest

from tests.data.make_refcocog_tiny import ROOT, SCENES, splits
from tests.data.refcocog_layout import write_refcocog_layout
from tests.layouts import OF_PYCOCOTOOLS
from vg_gym.registry import open_dataset

pytestmark = OF_PYCOCOTOOLS


@pytest.mark.parametrize("drawn", splits(), ids=SCENES)
def test_what_is_read_is_what_was_drawn(drawn):
    with pytest.warns(UserWarning, match=rf"refcocog-umd/{drawn.split} .* has {len(drawn)} expressions on"):
        data = open_dataset("refcocog-umd", drawn.split, str(ROOT))
    assert len(data) == len(drawn) == 4 * SCENES[drawn.split]
    assert data.categories == drawn.categories
    for ours, theirs in zip(data, drawn, strict=True):
        assert ours.query.expression == theirs.query.expression
        assert (ours.category, ours.split, ours.image_id) == (theirs.category, theirs.split, theirs.image_id)
        assert (ours.ann_id, ours.sent_id) == (theirs.ann_id, theirs.sent_id)
        np.testing.assert_allclose(ours.box, theirs.box, atol=1e-4)
        pixels, truth = ours.query.image.array(), theirs.query.image.array()
        assert ours.query.image.size == theirs.query.image.size == (96, 96)
        assert pixels.dtype == np.uint8 and np.abs(pixels.astype(int) - truth).mean() < 8  # JPEG
        objects, expected = data.objects(ours.image_id), drawn.objects(ours.image_id)
        assert (objects.categories, objects.ann_ids) == (expected.categories, expected.ann_ids)
        np.testing.assert_allclose(objects.boxes, expected.boxes, atol=1e-4)
        x1, y1, x2, y2 = ours.box
        assert data.segmentation(ours.ann_id).sum() == pytest.approx((x2 - x1) * (y2 - y1), rel=0.15)


def test_the_files_are_of_the_published_kind():
    names = {path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()}
    assert {"annotations/refs(umd).p", "annotations/instances.json"} < names
    assert all(name.startswith(("annotations/", "images/train2014/COCO_train2014_0000")) for name in names)
    refs = (ROOT / "annotations" / "refs(umd).p").read_bytes()
    assert next(pickletools.genops(refs))[1] == 2  # protocol 2, as Python 2 wrote them
    published = {"ref_id", "ann_id", "image_id", "category_id", "split", "file_name", "sentences", "sent_ids"}
    assert pickle.loads(refs)[0].keys() == published
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) < 60_000


def test_the_committed_files_are_those_of_the_script(tmp_path):
    places = [ROOT, write_refcocog_layout(splits(), tmp_path)]
    mine, again = [(place / "annotations/refs(umd).p").read_bytes() for place in places]
    assert pickle.loads(mine) == pickle.loads(again)
    mine, again = [json.loads((place / "annotations/instances.json").read_text()) for place in places]
    assert mine["images"] == again["images"] and mine["categories"] == again["categories"]
    boxes = [{a["id"]: a["bbox"] for a in instances["annotations"]} for instances in (mine, again)]
    assert boxes[0].keys() == boxes[1].keys()
    np.testing.assert_allclose([*boxes[0].values()], [*boxes[1].values()], atol=1e-4)
    mine, again = [sorted(path.name for path in (place / "images/train2014").iterdir()) for place in places]
    assert mine == again
