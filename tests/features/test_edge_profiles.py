"""Edge profiles: where an object's edge lies, seen from the box."""

import numpy as np
import torch

from vg_gym.clip.region_features import summed_area
from vg_gym.features.edge_maps import edge_maps
from vg_gym.features.edge_profiles import MARGIN, REACH, SCALE, SLICES, edge_profiles

OBJECT = np.array([0.25, 0.375, 0.625, 0.75], dtype=np.float32)


def tables():
    image = np.zeros((128, 128, 3), dtype=np.uint8)
    image[48:96, 32:80] = 200
    return summed_area(edge_maps(image)[None].astype(np.float32) / 255)


def profiles(boxes):
    slots = np.zeros(len(boxes), dtype=np.int32)
    return edge_profiles(tables(), slots, np.asarray(boxes, dtype=np.float32)).reshape(len(boxes), 4, SLICES)


def test_the_peak_is_where_the_object_ends():
    found = profiles([OBJECT])[0]
    middle = SLICES // 2
    assert set(found.argmax(axis=1).tolist()) <= {middle - 1, middle}
    moved = OBJECT - np.array([0.1, 0, 0, 0]) * (OBJECT[2] - OBJECT[0])  # the left edge a tenth of the side too far out
    peak = profiles([moved])[0, 0].argmax()
    offset = (peak + 0.5) / SLICES * 2 * REACH - REACH
    assert abs(offset * (moved[2] - moved[0]) - (OBJECT[0] - moved[0])) < 0.02


def test_strength_is_the_mean_over_the_slice():
    side, found = OBJECT[2] - OBJECT[0], profiles([OBJECT])[0]
    width = 2 * REACH / SLICES * side * 128  # pixels of a slice
    left = found[0].sum() * width / SCALE
    assert abs(left - 200 / 255 / (1 + 2 * MARGIN)) < 0.02  # one column of pixels, as long as the object


def test_beyond_the_image_there_is_nothing():
    found = profiles([[0, 0, 1, 1]])
    assert np.isfinite(found).all() and (found >= 0).all() and (found <= SCALE).all()
    assert not found[0, 0, : SLICES // 2].any()


def test_tensors_and_arrays_agree(rng):
    low = rng.uniform(0, 0.6, (20, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (20, 2))], 1).astype(np.float32)
    there = edge_profiles(torch.from_numpy(tables()), torch.zeros(20, dtype=torch.int32), torch.from_numpy(boxes))
    # The table's sums are large, so what is left of them in a slice of next to no pixels is rounding.
    np.testing.assert_allclose(there.numpy().reshape(20, 4, SLICES), profiles(boxes), atol=5e-3)
