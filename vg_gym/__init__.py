"""Reinforcement-learning environments and baselines for visual grounding.

Importing this package registers its environments with Gymnasium and loads nothing heavy.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from gymnasium.envs.registration import register as _register

from vg_gym.moved import support_old_names as _support_old_names

__version__ = "0.2.0"

ENVIRONMENTS = {
    "RefCOCOg-Ground-v0": "refcocog-umd",
    "RefCOCO-Ground-v0": "refcoco-unc",
    "RefCOCOPlus-Ground-v0": "refcoco+-unc",
    "RefShapes-Ground-v0": "refshapes",
    "RefScenes-Ground-v0": "refscenes",
    "RefShapes-GroundAny-v0": "refshapes-any",
    "RefCOCOg-GroundAny-v0": "grefcoco-unc",
    "RefScenes-GroundAny-v0": "refscenes-any",
}
"""Environment id -> the data set it plays. Ids with "GroundAny" have ``targets="any"``."""
DRAWN = ("refshapes", "refshapes-any", "refscenes", "refscenes-any")
"""Data sets that are drawn in code, so that they never need a replacement."""

for _id, _dataset in ENVIRONMENTS.items():
    _register(
        id=_id,
        entry_point="vg_gym.envs.grounding:GroundingEnv",
        vector_entry_point="vg_gym.envs.vector:GroundingVectorEnv",
        kwargs={
            "dataset": _dataset,
            "fallback": None if _dataset in DRAWN else "refshapes-any" if "Any" in _id else "refshapes",
            **({"targets": "any"} if "Any" in _id else {}),
        },
    )

_support_old_names()


PARTS = (
    "agents", "baselines", "boxes", "clip", "config", "data", "diffusion", "envs", "errors", "evaluation", "features",
    "fitting", "frames", "language", "language_models", "learned", "pictures", "registry", "runtime", "storage",
    "types",
)  # fmt: skip
"""Modules and packages that are attributes of ``vg_gym`` without an import of their own; see :func:`__getattr__`."""


def __getattr__(name: str) -> _Any:
    """Import ``vg_gym.ground``, ``vg_gym.Found`` and the modules of :data:`PARTS` on first access."""
    if name in ("ground", "Found"):
        from vg_gym import pictures

        return getattr(pictures, name)
    if name in PARTS:
        return _import_module(f"vg_gym.{name}")
    from vg_gym.errors import nearest

    near = nearest(name, [*PARTS, "ground", "Found", "ENVIRONMENTS"])
    raise AttributeError(f"module 'vg_gym' has no attribute {name!r}; {near}".rstrip("; "))


def __dir__() -> list[str]:
    """Return the names of the package, with those that are imported on first access."""
    return sorted({*globals(), *PARTS, "ground", "Found"})
