"""Torch, imported when something of it is first used: its import takes longer than all that an environment imports.

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
    import torch as torch
else:
    torch = _Later("torch")
