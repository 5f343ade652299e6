"""Lazy imports of torch and open_clip, which take longer than all other imports together.

Modules that an environment imports use ``from vg_gym.runtime.lazy_imports import torch``. An environment on a CPU whose
features are in the cache or in a store runs without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class _Later:
    """Proxy that imports a module at the first access to an attribute.

    Args:
        name: name of the module.
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
