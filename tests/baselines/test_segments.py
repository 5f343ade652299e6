"""Segments cover the image and have tight boxes."""

import numpy as np
import pytest

from vg_gym.baselines.segments import METHODS, SegmentProposer
from vg_gym.errors import VGGymError


@pytest.mark.parametrize("method", METHODS)
def test_segments_cover_the_image_and_have_tight_boxes(method, rng):
    image = np.repeat(np.repeat(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8), 10, 0), 10, 1)
    ours = SegmentProposer(method, counts=(24,), smallest=0).propose([image])[0]
    assert 8 <= len(ours) <= 48
    assert (ours.masks.sum(axis=0) == 1).all()
    for mask, box in zip(ours.masks, ours.boxes.astype(int), strict=True):
        x1, y1, x2, y2 = box
        assert mask[y1:y2, x1:x2].sum() == mask.sum()
        assert mask[y1].any() and mask[y2 - 1].any() and mask[:, x1].any() and mask[:, x2 - 1].any()


def test_unknown_segmentation_is_named():
    with pytest.raises(VGGymError, match="did you mean 'slic'"):
        SegmentProposer("slik")
    assert SegmentProposer().fingerprint != SegmentProposer(counts=(5,)).fingerprint
