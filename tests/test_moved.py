"""Old import paths work, and warn."""

import importlib
import subprocess
import sys

import pytest

from vg_gym.moved import MOVED, MOVED_NAMES


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_name_is_the_module_at_its_new_place(old, new):
    sys.modules.pop(old, None)
    module = importlib.import_module(new)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {new}"):
        assert importlib.import_module(old) is module
    assert module.__spec__.name == module.__name__ == new


def test_from_vg_gym_import_an_old_name():
    source = (
        "from vg_gym import chat; from vg_gym.answers.text import find_boxes as f; print(chat.__name__, f.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vg_gym.language_models.chat", "vg_gym.language_models.box_text"]


def test_a_submodule_of_a_moved_package_is_loaded_once():
    source = "import vg_gym.runners.ray, sys; print(sys.modules['vg_gym.runners.ray'].RayRunner.__module__)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["vg_gym.runtime.runners.ray"]


@pytest.mark.parametrize(("old", "place"), MOVED_NAMES.items())
def test_a_name_that_has_left_its_module_is_found_and_warns(old, place):
    module, _, name = old.rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {place}"):
        value = getattr(importlib.import_module(module), name)
    assert value is getattr(importlib.import_module(place), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        importlib.import_module(module).nothing  # noqa: B018
