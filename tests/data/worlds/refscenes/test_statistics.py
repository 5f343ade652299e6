"""The scenes have the statistics of photographs; docs/refscenes.md has the table."""

import pytest

from experiments.world_statistics import RANGES, REFCOCOG, statistics
from vg_gym.registry import open_dataset


@pytest.mark.slow
def test_two_thousand_samples_are_like_those_of_refcocog():
    measured = statistics(open_dataset("refscenes", "test")[:2000])
    assert set(measured) == set(REFCOCOG)
    outside = {name: measured[name] for name, (low, high) in RANGES.items() if not low <= measured[name] <= high}
    assert not outside


def test_statistics_of_few_samples():
    measured = statistics(open_dataset("refscenes", "test", scenes=16)[:48])
    assert 0 < measured["area .05"] < measured["area .5"] < measured["area .95"] <= 1
    assert measured["words .05"] <= measured["words mean"] <= measured["different words"]
    assert all(0 <= measured[name] <= 1 for name in ("constant box", "relations", "superlatives"))
