"""Images of any size on a canvas, and boxes that stay with them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vg_gym.boxes import from_cxcywh, to_cxcywh
from vg_gym.learned.batch import Batch, Canvas

SIZES = st.integers(20, 300)


@given(kind=st.sampled_from(["letterbox", "shortest", "square"]), width=SIZES, height=SIZES)
def test_a_box_on_the_canvas_is_where_its_object_is(kind, width, height):
    image = np.zeros((height, width, 3), np.uint8)
    box = np.array([width // 4, height // 4, width // 2 + 2, height // 2 + 2])
    image[box[1] : box[3], box[0] : box[2]] = 255
    canvas = Canvas(kind, 128, longest=300, mean=(0.0,) * 3, std=(1.0,) * 3)
    images, padding, frames = canvas.place([image])
    batch = Batch(images, padding, frames, torch.tensor([0]), None)
    true = torch.from_numpy((box / [width, height, width, height]).astype(np.float32))[None]
    placed = batch.to_canvas(true)
    torch.testing.assert_close(batch.from_canvas(placed), true, atol=1e-5, rtol=0)
    rows, columns = torch.nonzero(images[0, 0] > 0.5, as_tuple=True)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    pixels = placed[0] * torch.tensor([images.shape[-1], images.shape[-2]] * 2)
    assert float((seen - pixels).abs().max()) <= 2
    inside = torch.nonzero(~padding[0])
    extent = (inside.max(0).values - inside.min(0).values + 1) / torch.tensor(padding.shape[1:])
    torch.testing.assert_close(extent, frames[0, [3, 2]])
    assert not images[0, :, padding[0]].any()


def test_images_of_different_sizes_share_a_batch():
    wide, tall = np.full((40, 80, 3), 9, np.uint8), np.full((90, 30, 3), 9, np.uint8)
    images, padding, frames = Canvas("shortest", 60, longest=120).place([wide, tall])
    assert images.shape == (2, 3, 120, 120) and padding[0].sum() == 120 * 60 and padding[1].sum() == 120 * 80
    np.testing.assert_allclose(frames.numpy(), [[0, 0, 1, 0.5], [0, 0, 1 / 3, 1]])


def test_boxes_turn_and_return():
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.8]])
    torch.testing.assert_close(to_cxcywh(boxes), torch.tensor([[0.3, 0.5, 0.4, 0.6]]))
    torch.testing.assert_close(from_cxcywh(to_cxcywh(boxes)), boxes)
