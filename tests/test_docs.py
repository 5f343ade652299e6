"""README and the pages under docs/ hold together, and say what is there."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from PIL import Image

from vg_gym import ENVIRONMENTS, registry
from vg_gym.cli.entry import SUBCOMMANDS
from vg_gym.cli.train import TRAININGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMED = re.compile(
    r"\b(?:configs|experiments|benchmarks|examples|notebooks)/\w+\.(?:yaml|py|ipynb)\b|\b(?:train_\w+|evaluate)\.py\b"
)
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
    commands = set(SUBCOMMANDS)
    if named(page) == "docs/results/mistakes.md":  # its tables quote mistyped commands
        text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("|"))
    typed = set(re.findall(r"^ {4}vg-gym (\w+)", text, re.MULTILINE)) | set(re.findall(r"`vg-gym (\w+)", text))
    assert typed <= commands, typed - commands
    assert set(re.findall(r"vg-gym train (\w+)", text)) <= set(TRAININGS)


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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site from a copy of its sources, and return the folder of its pages."""
    for package in ("zensical", "mkdocstrings"):
        pytest.importorskip(package, reason='needs pip install -e ".[docs]"')
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "vg_gym").symlink_to(ROOT / "vg_gym")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "site"


class Links(HTMLParser):
    """What an HTML page links to, and its own anchors."""

    def __init__(self, page: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.links.append(value)
            if name in ("id", "name") and value is not None:
                self.anchors.add(value)


def dead_links(site: Path) -> list[str]:
    """Links inside a built site to files and anchors that are not there."""
    pages = {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    dead = []
    for page, found in pages.items():
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file() and (target not in pages or unquote(parts.fragment) in pages[target].anchors)
            if not there:
                dead.append(f"{page.relative_to(site)}: {link}")
    return dead


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(site):
    assert len(list(site.rglob("*.html"))) > len(list(DOCS.rglob("*.md")))
    assert not dead_links(site)


def test_a_dead_link_of_a_site_is_seen(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.html").write_text(
        '<a href="b/#here">x</a> <a href="b/#gone">y</a> <img src="c.png"> <a href="//d">z</a>'
    )
    (tmp_path / "b/index.html").write_text('<h1 id="here">B</h1> <a href="../a.html">a</a>')
    assert dead_links(tmp_path) == ["a.html: b/#gone", "a.html: c.png"]


def test_what_is_written_from_classes_is_current():
    """Each id has the page that its classes make; tables of options are those of the dataclasses."""
    pytest.importorskip("griffe", reason='needs pip install -e ".[docs]"')
    code = "import environment_pages, option_tables; print(environment_pages.stale() + option_tables.stale())"
    path = os.pathsep.join([str(DOCS), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.stdout == "[]\n", (
        f"run: python docs/environment_pages.py; python docs/option_tables.py\n{done.stdout}{done.stderr}"
    )


def test_films_are_there_and_small():
    films = [DOCS / "environments" / f"{name}.gif" for name in ENVIRONMENTS]
    assert sum(film.stat().st_size for film in films) < 3e6 and (DOCS / "agent.gif").stat().st_size < 1e6
    for film in (*films, DOCS / "agent.gif"):
        with Image.open(film) as picture:
            assert picture.format == "GIF" and picture.n_frames > 10
