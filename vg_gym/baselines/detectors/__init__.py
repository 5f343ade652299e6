"""Detectors as proposers (YOLO, DETR and RT-DETR, SSD, SAM), with published, local or built-in weights."""
