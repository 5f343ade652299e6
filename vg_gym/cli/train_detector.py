"""``train_detector.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vg_gym.baselines.detectors.detector_learner import DetectorConfig, train_detector
from vg_gym.cli.run import configured


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a small object detector.

    Args:
        arguments: YAML files and ``key=value`` of :class:`DetectorConfig`; by default those of the command line.
    """
    config = configured(DetectorConfig, sys.argv[1:] if arguments is None else arguments)
    print(f"detector in {train_detector(config)}")
