"""Old import paths of modules that have moved; each works, with a ``DeprecationWarning``, until version 0.3."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "vg_gym.answers": "vg_gym.language_models",
    "vg_gym.answers.frames": "vg_gym.frames",
    "vg_gym.answers.text": "vg_gym.language_models.box_text",
    "vg_gym.chat": "vg_gym.language_models.chat",
    "vg_gym.data.expressions": "vg_gym.data.worlds.refshapes.expressions",
    "vg_gym.data.refshapes": "vg_gym.data.worlds.refshapes.dataset",
    "vg_gym.data.scenes": "vg_gym.data.worlds.refshapes.scenes",
    "vg_gym.envs.rendering": "vg_gym.data.drawing",
    "vg_gym.envs.text": "vg_gym.language_models.text_env",
    "vg_gym.evaluation.paired_results": "vg_gym.evaluation.paired",
    "vg_gym.evaluation.saved": "vg_gym.evaluation.results",
    "vg_gym.rewards": "vg_gym.language_models.text_rewards",
    "vg_gym.runners": "vg_gym.runtime.runners",
}
"""Old name -> new name, of the modules that pages of version 0.1 named."""


class MovedModules(MetaPathFinder, Loader):
    """Finds a module under its old name and returns the module at its new place."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for an old name, and None for any other."""
        return ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module at its new place, and warn."""
        warnings.warn(f"{spec.name} has moved to {MOVED[spec.name]}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(MOVED[spec.name])
        self._spec = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec of the module, which has already run at its new place."""
        module.__spec__ = self._spec


def support_old_names() -> None:
    """Let ``import`` find modules under their old names."""
    sys.meta_path.append(MovedModules())
