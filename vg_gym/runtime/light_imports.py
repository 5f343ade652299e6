"""Imports of torchvision and open_clip without what they import but rarely need, which takes longer than torch itself.

``torchvision.ops.roi_align`` imports torch's compiler for one function that it calls in deterministic mode alone.
open_clip imports timm and transformers for the towers of some CLIPs; the built-in CLIP has none of them. Other code of
the same process may want these towers, so they are left out only in commands that call :func:`leave_towers_out`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, reload
from types import ModuleType
from typing import Any

COMPILER = ("torch._dynamo", "torch._dynamo.utils")
"""Modules of torch's compiler that torchvision imports."""
OF_TOWERS = {"timm": ("timm_model",), "transformers": ("hf_model", "coca_model")}
"""Packages that open_clip imports if they are installed, and its modules that do."""
_towers_left_out = False
_incomplete: set[str] = set()
"""Modules of open_clip that were imported without these packages."""


class _StandIn(ModuleType):
    """Module whose functions import the real module when they are called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        module = self.__name__

        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(import_module(module), name)(*arguments, **options)

        return call


@contextmanager
def _replaced(modules: dict[str, Any]) -> Iterator[None]:
    """Let imports find these modules, and raise ImportError for those that are None."""
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def import_torchvision() -> None:
    """Import torchvision without torch's compiler; modules that import torchvision call this first."""
    if not {"torchvision", COMPILER[0]} & set(sys.modules):
        import_module("torch")  # before the replacement, which torch itself must not see
        with _replaced({name: _StandIn(name) for name in COMPILER}):
            import_module("torchvision")


def leave_towers_out() -> None:
    """Let :func:`import_open_clip` leave out timm and transformers; for commands, which run no other code."""
    global _towers_left_out
    _towers_left_out = True


def import_open_clip() -> None:
    """Import open_clip; after :func:`leave_towers_out` without timm and transformers, for CLIPs with its own towers."""
    import_torchvision()
    if _towers_left_out and "open_clip" not in sys.modules:
        hidden = {name: None for name in OF_TOWERS if name not in sys.modules}
        with _replaced(hidden):
            import_module("open_clip")
        _incomplete.update(module for name in hidden for module in OF_TOWERS[name])


def import_towers() -> None:
    """Add to open_clip the towers of timm and transformers that :func:`import_open_clip` left out."""
    import_torchvision()
    import_module("open_clip")
    while _incomplete:
        # Classes that were imported from the module read its global names, which are replaced in place.
        reload(import_module(f"open_clip.{_incomplete.pop()}"))
