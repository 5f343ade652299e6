"""State that observations show, and the parts that every observation has."""

from __future__ import annotations

from typing import Any, NamedTuple


class State(NamedTuple):
    """State of rows of an engine that every observation shows; arrays or tensors of B rows."""

    boxes: Any
    """Normalised boxes (B, 4)."""
    maps: Any
    """Summed-area tables of score maps (B, M, g+1, g+1)."""
    overview: Any
    """Glimpses of the whole image (B, M + 1, G, G)."""
    history: Any
    """Last actions (B, H, A)."""
    image: Any
    """Features of the images (B, D)."""
    region: Any
    """Features of the boxes (B, D)."""
    score: Any
    """Scores of the boxes (B,)."""
    score_change: Any
    """Last changes of the scores (B,)."""
    steps: Any
    """Numbers of steps, int64 (B,)."""
    text: Any
    """Features of the expressions (B, D)."""


class Parts(NamedTuple):
    """Parts that every observation has; arrays or tensors of R rows."""

    box: Any
    """Corners, centres and sides of the boxes (R, 8)."""
    glimpses: Any
    """Glimpses of the moving windows and of the whole image (R, 4 * (M + 1) * G * G)."""
    history: Any
    """Last actions (R, H * A)."""
    image: Any
    """Features of the images (R, D)."""
    region: Any
    """Features of the boxes (R, D)."""
    score: Any
    """Scores of the boxes and their last changes (R, 2)."""
    step: Any
    """Shares of the steps taken (R, 1)."""
    text: Any
    """Features of the expressions (R, D)."""
