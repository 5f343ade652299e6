"""Detectors as proposers (YOLO, DETR and RT-DETR, SSD, SAM), with published, local or built-in weights."""

from vg_gym.runtime.light_imports import import_torchvision

import_torchvision()
