"""Heat-map grounders: together as alone, and what they keep."""

import numpy as np
import pytest

from vg_gym.baselines.heat_map_grounder import HeatMapGrounder
from vg_gym.errors import VGGymError


def test_a_heat_map_is_the_best_box_s(tiny, blind):
    for scorer in ("crops", "regions"):
        grounder = HeatMapGrounder(scorer, clip=tiny, counts=(8,), upsample=1, alpha=0.8, tau=0.05)
        together = grounder.ground(blind)
        masks, cosines = grounder.cosines(blind[0])
        assert len(masks) == len(cosines) == together[0].details["evaluations"]
        assert (np.abs(cosines) <= 1.0001).all()
        heat = together[0].details["heat_map"]
        assert heat.min() == 0 and heat.max() == pytest.approx(1)
        for query, prediction in zip(blind[:3], together[:3], strict=True):
            (alone,) = HeatMapGrounder(scorer, clip=tiny, counts=(8,), upsample=1, alpha=0.8, tau=0.05).ground([query])
            np.testing.assert_array_equal(alone.box, prediction.box)
    with pytest.raises(VGGymError, match="unknown scorer"):
        HeatMapGrounder("crop", clip=tiny)
    with pytest.raises(VGGymError, match="unknown aggregate"):
        HeatMapGrounder("crops", clip=tiny, aggregate="meen")
