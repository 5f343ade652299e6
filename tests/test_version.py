"""The version of the package stands in one place, and everything else repeats it."""

from pathlib import Path

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
