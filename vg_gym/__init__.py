"""Reinforcement-learning environments and baselines for visual grounding."""

__version__ = "0.1.0"
