"""Heads of the RoI denoiser."""

import torch

from vg_gym.diffusion.options import BoxDiffusionOptions
from vg_gym.diffusion.roi_denoiser import Head
from vg_gym.diffusion.trunk import FusedFeatures


def test_a_head_takes_features_from_under_its_boxes():
    o = BoxDiffusionOptions(dim=16, heads=2, channels=2, roi=3, context=1.0)
    head = Head(o)
    ramp = (torch.arange(32) + 0.5) / 32
    maps = torch.stack([ramp.expand(32, 32), ramp[:, None].expand(32, 32)])[None]  # x and y
    found = head._features_under(maps, torch.tensor([[[0.5, 0.4, 0.3, 0.6], [0.5, 0.5, 0.0, 0.0]]])).view(1, 2, 2, 3, 3)
    torch.testing.assert_close(found[0, 0, 0, 0], torch.tensor([0.4, 0.5, 0.6]))
    torch.testing.assert_close(found[0, 0, 1, :, 0], torch.tensor([0.2, 0.4, 0.6]))
    assert found.isfinite().all()


def test_a_head_may_leave_its_box():
    """With the gate shut the answer does not depend on where the box is, but for its features."""
    o = BoxDiffusionOptions(dim=16, heads=2, channels=2, roi=3)
    torch.manual_seed(0)
    head = Head(o)
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.copy_(torch.tensor([0.0] * 4 + [0.0, 0.0, -2.0, -2.0] + [-50.0] * 4 + [0.0]))
    mask = torch.ones(1, 3, dtype=torch.bool)
    features = FusedFeatures(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 16), mask, torch.zeros(1, 16))
    boxes = torch.tensor([[[0.0, 0.0, 0.1, 0.1], [0.8, 0.8, 0.9, 0.9]]])
    inputs = (features, head.across.keys_values(features.memory), boxes, torch.zeros(1, 2, 16), torch.zeros(1, 16))
    side = torch.tensor(-2.0).sigmoid() / 2
    expected = torch.stack([0.5 - side, 0.5 - side, 0.5 + side, 0.5 + side]).expand(1, 2, 4)
    torch.testing.assert_close(head(*inputs)[0], expected)
    with torch.no_grad():
        head.out.bias[8:12] = 50.0  # the gate open, and no moves: boxes stay
    torch.testing.assert_close(head(*inputs)[0], boxes)
