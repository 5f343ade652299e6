"""Detectors as proposers (YOLO, DETR and RT-DETR, SSD, SAM): published weights, local files, or the built-in ones."""
