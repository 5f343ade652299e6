"""Heat maps: the published ones, and small ones by hand."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from vg_gym.baselines.heat_maps import AGGREGATES, heat_map
from vg_gym.errors import VGGymError

MASKS = np.array([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 1, 0, 0]]], dtype=bool)
SCORES = np.log([2.0, 5.0, 3.0])


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("name", ["vit_patch16_up2", "vit_patch32_up1"])
def test_published(parity, name, aggregate):
    folder = parity / "adapting_clip" / name
    temperature = json.loads((folder / "meta.json").read_text())["config"]["heatmap_temperature"]
    inputs, outputs = (load_file(folder / f"{part}.safetensors") for part in ("inputs", "outputs"))
    ours = heat_map(inputs["masks"], inputs["mask_scores"], temperature, aggregate)
    np.testing.assert_allclose(ours, outputs[f"heatmap.{aggregate}"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("mean", [0, (10 / 3 - 2) / 3, 1, 0]),
        ("max", [0, 1, 1, 0]),
        ("median", [0, 1 / 3, 1, 0]),
        ("min", [1, 1, 0, 0]),  # negated
    ],
)
def test_by_hand(aggregate, expected):
    np.testing.assert_allclose(heat_map(MASKS, SCORES, 1.0, aggregate), [expected], atol=1e-12)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_no_score_overflows_or_fades(aggregate):
    """A common factor of all scores changes nothing, at temperatures where exp alone would leave float64."""
    for shift in (-50.0, 0.0, 50.0):
        heat = heat_map(MASKS, SCORES * 0.01 + shift, 0.01, aggregate)
        np.testing.assert_allclose(heat, heat_map(MASKS, SCORES, 1.0, aggregate), atol=1e-9)


def test_equal_scores_and_empty_segments_are_cold():
    assert not heat_map(MASKS, np.full(3, 0.3), 0.02).any()
    assert not heat_map(np.zeros((2, 3, 4), dtype=bool), np.array([0.1, 0.2]), 0.02).any()


def test_refusals():
    with pytest.raises(VGGymError, match="aggregate"):
        heat_map(MASKS, SCORES, 1.0, "mode")
    with pytest.raises(VGGymError, match="got 0 and 0"):
        heat_map(MASKS[:0], SCORES[:0], 1.0)
    with pytest.raises(VGGymError, match="got 3 and 2"):
        heat_map(MASKS, SCORES[:2], 1.0)
