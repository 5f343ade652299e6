"""The version of the package stands in one place, and everything else repeats it."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import vg_gym

ROOT = Path(__file__).parents[1]


def test_the_citation_and_readme_have_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == vg_gym.__version__
    assert f"version = {{{vg_gym.__version__}}}" in (ROOT / "README.md").read_text()


def test_the_installed_version_is_read_from_the_package():
    assert "\nversion = attr: vg_gym.__version__\n" in (ROOT / "setup.cfg").read_text()


def test_the_changelog_has_the_version():
    assert f"## [{vg_gym.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_parts_of_the_package_are_attributes_that_are_imported_on_first_access():
    program = (
        "import sys, time, vg_gym; assert 'torch' not in sys.modules and 'vg_gym.registry' not in sys.modules\n"
        "assert vg_gym.registry.list_datasets() and vg_gym.boxes.iou and 'registry' in dir(vg_gym)\n"
        "assert all(getattr(vg_gym, name).__name__ == f'vg_gym.{name}' for name in vg_gym.PARTS)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_misspelt_part_is_named_with_the_nearest():
    with pytest.raises(AttributeError, match="no attribute 'registri'; did you mean 'registry'?"):
        vg_gym.registri  # noqa: B018
