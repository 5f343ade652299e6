"""Boxes in texts: frames of coordinates, and extraction of boxes from the answers of models."""
