"""CLIP: an encoder over open_clip, dense region features and named scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vg_gym.clip.encoder import ClipEncoder as ClipEncoder
    from vg_gym.clip.loader import load_clip as load_clip


def __getattr__(name: str) -> Any:
    """Import torch and open_clip on the first use of the encoder."""
    if name in ("ClipEncoder", "load_clip"):
        from vg_gym.clip import loader

        return getattr(loader, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
