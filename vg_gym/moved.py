"""Old import paths of modules that have moved; each works, with a ``DeprecationWarning``, until version 0.3.

The submodules of a package that has moved are found as well.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "vg_gym.agents.film": "vg_gym.agents.publishing.film",
    "vg_gym.agents.hub": "vg_gym.agents.publishing.hub",
    "vg_gym.agents.minari_data": "vg_gym.agents.publishing.minari_data",
    "vg_gym.agents.sharing": "vg_gym.agents.publishing.sharing",
    "vg_gym.answers": "vg_gym.language_models",
    "vg_gym.answers.frames": "vg_gym.frames",
    "vg_gym.answers.text": "vg_gym.language_models.box_text",
    "vg_gym.baselines.foundation.yolo_world": "vg_gym.baselines.foundation.text_prompted_yolo",
    "vg_gym.baselines.foundation.yoloe": "vg_gym.baselines.foundation.text_prompted_yolo",
    "vg_gym.baselines.one_stage.grounders": "vg_gym.baselines.one_stage.checkpoints",
    "vg_gym.chat": "vg_gym.language_models.chat",
    "vg_gym.clip.dense": "vg_gym.clip.region_features",
    "vg_gym.clip_finetuning": "vg_gym.clip.finetuning",
    "vg_gym.data.expressions": "vg_gym.data.worlds.refshapes.expressions",
    "vg_gym.data.refshapes": "vg_gym.data.worlds.refshapes.dataset",
    "vg_gym.data.scenes": "vg_gym.data.worlds.refshapes.scenes",
    "vg_gym.demo": "vg_gym.pictures",
    "vg_gym.devices": "vg_gym.runtime.devices",
    "vg_gym.envs.edge_profiles": "vg_gym.features.edge_profiles",
    "vg_gym.envs.feature_bank": "vg_gym.features.bank",
    "vg_gym.envs.proposals": "vg_gym.features.query_proposals",
    "vg_gym.envs.rendering": "vg_gym.data.drawing",
    "vg_gym.envs.text": "vg_gym.language_models.text_env",
    "vg_gym.evaluation.paired_results": "vg_gym.evaluation.paired",
    "vg_gym.evaluation.saved": "vg_gym.evaluation.results",
    "vg_gym.kernels": "vg_gym.clip.kernels",
    "vg_gym.lazily": "vg_gym.runtime.lazy_imports",
    "vg_gym.rewards": "vg_gym.language_models.text_rewards",
    "vg_gym.runners": "vg_gym.runtime.runners",
}
"""Old name -> new name, of the modules that pages of version 0.1 named."""
MOVED_NAMES = {
    "vg_gym.clip.encoder.load_clip": "vg_gym.clip.loader",
}
"""Old name of a function or class -> the module that defines it now."""


class MovedModules(MetaPathFinder, Loader):
    """Finds a module under its old name and returns the module at its new place."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return a spec for an old name, and None for any other."""
        return ModuleSpec(name, self) if new_name(name) != name else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module at its new place, and warn."""
        new = new_name(spec.name)
        warnings.warn(f"{spec.name} has moved to {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._spec = module.__spec__  # the import system is about to replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Restore the spec of the module, which has already run at its new place."""
        module.__spec__ = self._spec


def new_name(name: str) -> str:
    """Return the present name of a module; only old names differ from theirs.

    >>> new_name("vg_gym.chat"), new_name("vg_gym.runners.ray"), new_name("vg_gym.boxes")
    ('vg_gym.language_models.chat', 'vg_gym.runtime.runners.ray', 'vg_gym.boxes')
    """
    if name in MOVED:
        return MOVED[name]
    package, dot, module = name.rpartition(".")
    return new_name(package) + dot + module if package.startswith("vg_gym") else name


def support_old_names() -> None:
    """Let ``import`` find modules under their old names, before it looks into the folder of a package that moved."""
    sys.meta_path.insert(0, MovedModules())


def moved_names(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module some of whose names have moved, see :data:`MOVED_NAMES`."""

    def getattribute(name: str) -> Any:
        place = MOVED_NAMES.get(f"{module}.{name}")
        if place is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{module}.{name} has moved to {place}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place), name)

    return getattribute
