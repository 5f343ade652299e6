import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchvision.ops import box_iou, generalized_box_iou

from vg_gym import boxes as box_ops

corner = st.floats(0, 100, width=32, allow_subnormal=False)
raw = arrays(np.float32, (5, 4), elements=corner)


def valid(raw):
    low, high = np.minimum(raw[:, :2], raw[:, 2:]), np.maximum(raw[:, :2], raw[:, 2:]) + 1
    return np.concatenate([low, high], axis=1).astype(np.float32)


@given(raw, raw)
def test_iou_and_giou_are_torchvision_s(a, b):
    a, b = valid(a), valid(b)
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(box_ops.iou_matrix(a, b), box_iou(x, y).numpy(), atol=1e-5)
    np.testing.assert_allclose(box_ops.giou(a[:, None], b[None]), generalized_box_iou(x, y).numpy(), atol=1e-5)
    torch.testing.assert_close(box_ops.iou_matrix(x, y), box_iou(x, y), atol=1e-5, rtol=0)
    torch.testing.assert_close(box_ops.giou(x[:, None], y[None]), generalized_box_iou(x, y), atol=1e-5, rtol=0)


@given(raw)
def test_conversions_come_back(a):
    a = valid(a)
    np.testing.assert_allclose(box_ops.from_cxcywh(box_ops.to_cxcywh(a)), a, atol=1e-3)
    xywh = np.concatenate([a[:, :2], a[:, 2:] - a[:, :2]], axis=1)
    np.testing.assert_allclose(box_ops.from_xywh(xywh), a, atol=1e-3)
    np.testing.assert_allclose(box_ops.denormalize(box_ops.normalize(a, (50, 80)), (50, 80)), a, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(box_ops.area(box_ops.scale(a, 2)), 4 * box_ops.area(a), rtol=1e-3)


@given(arrays(np.float32, (5, 4), elements=st.floats(-3, 4, width=32)))
def test_fit_inside_always_fits(a):
    fitted = box_ops.fit_inside(a, min_side=0.05)
    assert box_ops.is_valid(fitted, (1, 1), 1e-6).all()
    assert (fitted[:, 2:] - fitted[:, :2] >= 0.05 - 1e-6).all()


def test_empty_boxes_have_no_overlap():
    empty = np.array([1.0, 1.0, 1.0, 1.0])
    assert box_ops.iou(empty, empty) == 0
    assert box_ops.area(np.array([2.0, 2.0, 1.0, 3.0])) == 0


@pytest.mark.parametrize("box", [[0, 0, 0, 1], [0, 0, np.nan, 1], [-1, 0, 1, 1], [0, 0, 2, 1]])
def test_invalid_boxes_are_seen(box):
    assert not box_ops.is_valid(np.array(box, np.float32), (1, 1))


def test_the_lattice_holds_all_boxes():
    boxes = box_ops.lattice_boxes(4, 1.0)
    assert len(boxes) == 100 and len(np.unique(boxes, axis=0)) == 100
    assert len(box_ops.lattice_boxes(4, 0.5, smallest=1.0, largest=2.0)) == (7 + 6 + 5) ** 2


def test_cells_are_covered_alike_in_numpy_and_torch(rng):
    low = rng.uniform(-0.1, 0.6, (5, 3, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 0.5, (5, 3, 2))], -1).astype(np.float32)
    covered = box_ops.cell_overlaps(boxes, 7)
    torch.testing.assert_close(box_ops.cell_overlaps(torch.from_numpy(boxes), 7), torch.from_numpy(covered))
    inside = boxes.clip(0, 1)
    np.testing.assert_allclose(covered.sum(-1), (inside[..., 2:] - inside[..., :2]).clip(0), atol=1e-6)
