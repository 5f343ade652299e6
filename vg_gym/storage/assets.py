"""Built-in weights of the package."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
"""Folder of all built-in weights."""


def built_in(kind: str, name: str) -> Path | None:
    """Return the folder of built-in weights, or None if the name is unknown.

    Args:
        kind: kind of model: ``clip``, ``agent``, a detector, or a learned grounder.
        name: name of the weights, e.g. ``refshapes``.

    >>> built_in("clip", "refshapes").name, built_in("clip", "ViT-B-32")
    ('clip-refshapes', None)
    """
    folder = ASSETS / f"{kind}-{name}"
    return folder if name and folder.is_dir() else None


def built_in_names(kind: str) -> list[str]:
    """Return the names of all built-in weights of a kind, sorted."""
    return sorted(folder.name.removeprefix(f"{kind}-") for folder in ASSETS.glob(f"{kind}-*"))
