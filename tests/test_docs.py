"""README and the pages under docs/ hold together, and say what is there."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vg_gym import registry
from vg_gym.cli.entry import SUBCOMMANDS
from vg_gym.cli.train import WHAT

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMED = re.compile(r"\b(?:configs|experiments|benchmarks|examples)/\w+\.(?:yaml|py)\b|\b(?:train_\w+|evaluate)\.py\b")
"""Files that commands name."""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def pages_of_nav(entries) -> list[str]:
    """The files of a nav, whose entries are lists and maps of titles."""
    if isinstance(entries, str):
        return [entries]
    parts = entries.values() if isinstance(entries, dict) else entries
    return [page for part in parts for page in pages_of_nav(part)]


def anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as MkDocs and GitHub make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def broken(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_nav():
    nav = pages_of_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(nav) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    assert not broken(page)


def test_a_broken_link_is_seen(tmp_path):
    (tmp_path / "a.md").write_text("# A b: c\n[x](a.md#a-b-c) [y](a.md#z) [z](b.md) [w](https://example.org)")
    assert broken(tmp_path / "a.md") == ["a.md#z", "b.md"]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_name_what_there_is(page):
    text = page.read_text()
    assert not [file for file in NAMED.findall(text) if not (ROOT / file).is_file()]
    commands = {module.__name__.rpartition(".")[2] for module in SUBCOMMANDS} - {"listing"} | {"list"}
    typed = set(re.findall(r"^ {4}vg-gym (\w+)", text, re.MULTILINE)) | set(re.findall(r"`vg-gym (\w+)", text))
    assert typed <= commands, typed - commands
    assert set(re.findall(r"vg-gym train (\w+)", text)) <= set(WHAT)


def test_the_readme_is_short_and_its_test_command_is_what_ci_runs():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 130
    command = (ROOT / ".ci/run").read_text().splitlines()[-1]
    assert f"\n    {command}\n" in readme


def test_the_page_of_methods_has_every_method():
    text = (DOCS / "methods.md").read_text()
    assert not [name for name in (*registry.GROUNDERS, *registry.CEILINGS) if f"`{name}`" not in text]


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/datasets.md", "docs/extending.md"])
def test_code_runs(page, tmp_path, monkeypatch):
    """Top to bottom; a block that begins with ``# NAME.py`` is that module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "docs").mkdir()
    shutil.copy(DOCS / "scene.png", tmp_path / "docs")
    blocks = python_blocks(ROOT / page)
    assert blocks
    known, names = dict(registry.GROUNDERS), {}
    try:
        for block in blocks:
            if module := re.match(r"# (\w+\.py)\n", block):
                (tmp_path / module[1]).write_text(block)
                importlib.invalidate_caches()
            else:
                exec(compile(block, page, "exec"), names)
    finally:
        for name in registry.GROUNDERS.keys() - known.keys():
            del registry.GROUNDERS[name]


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason='needs pip install -e ".[docs]"')
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
