"""Errors of a user's own code name the file and the line."""

import importlib.util

import pytest

from vg_gym.errors import place_of


def error_in(file):
    """Return the error that the function ``fails`` of a file raises."""
    spec = importlib.util.spec_from_file_location("own", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ValueError) as raised:
        module.fails()
    return raised.value


@pytest.mark.parametrize("folder", ["mine", "vg_gym"])  # a clone of the repository has the package's name
def test_the_last_line_of_own_code_is_named(tmp_path, folder):
    file = tmp_path / folder / "method.py"
    file.parent.mkdir()
    file.write_text('import json\n\n\ndef fails():\n    json.loads("{")\n')
    assert place_of(error_in(file)) == " (method.py, line 5)"


def test_code_of_libraries_is_not_named(tmp_path):
    file = tmp_path / "site-packages" / "method.py"
    file.parent.mkdir()
    file.write_text("def fails():\n    raise ValueError\n")
    assert "method.py" not in place_of(error_in(file))
