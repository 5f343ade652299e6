"""Train a small object detector for the two-stage pipelines.

python train_detector.py configs/yolo_refshapes.yaml
python train_detector.py detector=ssd dataset=refcocog-umd root=DIR side=320 options.image_size=320 out=runs/ssd
"""

import sys

from vg_gym.baselines.detectors.detector_learner import DetectorConfig, train_detector
from vg_gym.cli.run import run
from vg_gym.config import load_config


def main() -> None:
    """Train; see :class:`vg_gym.baselines.detectors.detector_learner.DetectorConfig` for every option."""
    print(f"detector in {train_detector(load_config(DetectorConfig, sys.argv[1:]))}")


if __name__ == "__main__":
    run(main)
