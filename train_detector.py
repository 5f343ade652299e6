"""Train a small object detector for the two-stage pipelines.

python train_detector.py configs/yolo_refshapes.yaml
python train_detector.py detector=ssd dataset=refcocog-umd root=DIR side=320 options.image_size=320 out=runs/ssd
"""

from vg_gym.cli.run import run
from vg_gym.cli.train import main

if __name__ == "__main__":
    run(lambda: main("detector"))
