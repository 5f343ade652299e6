"""Boxes said in words: the frames of their coordinates, and how they are found in a text."""
