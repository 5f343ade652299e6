"""Torch and open_clip, imported when something of them is first used: that takes longer than all else put together.

``from vg_gym.lazily import torch`` is for modules that an environment imports. One whose features are in the cache or
in a store, on a CPU, plays without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class _Later:
    """Stands for a module.

    Args:
        name: of the module.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


if TYPE_CHECKING:
    import open_clip as open_clip
    import torch as torch
else:
    open_clip, torch = _Later("open_clip"), _Later("torch")
