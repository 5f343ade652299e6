"""Self-contained HTML pages: one file that loads nothing and runs only the scripts of this package."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vg_gym.evaluation.intervals import SIGNED, interval_text

TEMPLATES = "templates"
"""Name of the folder of templates, scripts and styles."""


def render(template: str, scripts: tuple[str, ...], **values: Any) -> str:
    """Return a page: a template with escaped values, styles and scripts.

    The policy of the page allows only the named scripts and images inside the page.

    Args:
        template: name of a template.
        scripts: names of scripts, in the order in which they run.
        **values: values of the template.
    """
    sources = [_source(name) for name in scripts]
    allowed = " ".join(f"'sha256-{_sha256(source)}'" for source in sources)
    return (
        _templates()
        .get_template(template)
        .render(
            style=Markup(_source("page.css")),
            scripts=[Markup(source) for source in sources],
            policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}",
            **values,
        )
    )


def _sha256(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _source(name: str) -> str:
    return (files("vg_gym.evaluation") / TEMPLATES / name).read_text()


@lru_cache(1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("vg_gym.evaluation", TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["share"] = lambda value: "" if value is None else f"{value:.3f}"
    environment.filters["interval"] = lambda ci: interval_text(ci, "{:.3f}–{:.3f}")
    environment.filters["signed_interval"] = lambda ci: interval_text(ci, SIGNED)
    return environment
