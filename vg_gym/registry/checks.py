"""Checks of methods that build nothing, so that mistakes are found before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from vg_gym.errors import VGGymError, missing_extra
from vg_gym.registry import check_factory_options, grounder_key, grounder_spec
from vg_gym.registry.specs import Spec, load_object

PACKAGES = {
    "yolo": ("ultralytics",), "onnx": ("onnxruntime",), "detr": ("transformers", "timm"), "sam": ("segment_anything",),
    "segments": ("skimage",), "foundation": ("transformers", "pyarrow"), "api": ("httpx",),
}  # fmt: skip
"""Extra -> modules that it installs, whose presence shows that it is installed."""


def missing_packages(spec: Spec) -> list[str]:
    """Return the modules of a spec's extra that are not installed."""
    return [package for package in PACKAGES.get(spec.extra, ()) if find_spec(package) is None]


def check_grounder(name: str, options: Mapping[str, Any]) -> None:
    """Check the name, the argument, the extra and the options of a grounder without building it.

    Args:
        name: name as for :func:`vg_gym.registry.grounder`.
        options: options as for the same function.

    Raises:
        MissingExtra: a package of its extra is not installed.
        VGGymError: the name or an option is unknown, or nothing has the name after its colon.
    """
    spec, key = grounder_spec(name), grounder_key(name)
    argument = name[len(key) + 1 :]
    if spec.argument and not argument and spec.finds and spec.argument not in options:
        raise VGGymError(f"{name!r} needs a name after a colon: {spec.summary}, e.g. {key}:refshapes")
    if "weights" not in options and (missing := missing_packages(spec)):  # other weights may need other packages
        raise missing_extra(name, missing[0], spec.extra)
    check_factory_options(key, spec, options, [spec.argument] if argument else [])
    if argument and spec.finds:
        load_object(spec.finds)(argument)


def check_refiner(name: str) -> None:
    """Reject a built-in grounder that does not start from given boxes.

    Raises:
        VGGymError: the grounder finds boxes by itself.
    """
    spec = grounder_spec(name)
    if spec.factory.startswith("vg_gym.") and not spec.refines:
        raise VGGymError(f"{name} takes no initial boxes, so that --refine cannot use it; name one, e.g. agent:refiner")
