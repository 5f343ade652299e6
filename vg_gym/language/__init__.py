"""Referring expressions taken apart: phrases, relations, superlatives."""
