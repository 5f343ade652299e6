"""Write a page for each registered environment from its classes.

python docs/environment_pages.py

Sections come from the docstring of ``GroundingEnv``, arguments from its signature and from ``EnvOptions``, and spaces
from a new environment.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from itertools import zip_longest
from pathlib import Path

import gymnasium
from gymnasium.spaces import Dict
from option_tables import markdown, option_table, table

import vg_gym
from vg_gym import registry
from vg_gym.envs import actions
from vg_gym.envs.factory import make_engine
from vg_gym.envs.grounding import GroundingEnv

FOLDER = Path(__file__).parent / "environments"
FIXED = ("num_envs", "tensors", "options")
"""Arguments of an engine that an environment lacks."""
OF_ALL = ("Registered ids", "Arguments")
"""Titles of sections that differ from page to page."""

PAGE = """# {id}

<!-- Written by docs/environment_pages.py -->

![Three seeded episodes]({id}.gif)

{caption}

| Import | `gymnasium.make("{id}")` |
|---|---|
| Vectorized | `gymnasium.make_vec("{id}", num_envs=256)` |
| Action space | `{action_space}` |
| Observation space | a `Dict` of {keys} |
| Data | `{dataset}`, {summary}; {splits} |

## Description

{description}

{sections}

## Arguments

```python
{example}
```

{arguments}

### Options

{options}

{tail}
"""


def main() -> None:
    """Write every page."""
    for name in vg_gym.ENVIRONMENTS:
        (FOLDER / f"{name}.md").write_text(page(name))


def stale() -> list[str]:
    """Return the ids whose pages differ from the classes."""
    return [name for name in vg_gym.ENVIRONMENTS if (FOLDER / f"{name}.md").read_text() != page(name)]


def page(name: str) -> str:
    """Return the page of an id."""
    spec = registry.dataset_spec(vg_gym.ENVIRONMENTS[name])
    env, (description, sections) = made(targets(name)), docstring()
    titles = list(sections)
    tail = titles[titles.index("Arguments") + 1 :]
    extra = {
        "Action space": f"\n\n{action_sets()}\n\n{moves(targets(name) == 'any')}",
        "Observation space": f"\n\n{observations(env.observation_space)}",
    }
    return PAGE.format(
        id=name,
        caption=caption(name),
        action_space=env.action_space,
        keys=", ".join(f"`{key}`" for key in env.observation_space),
        dataset=vg_gym.ENVIRONMENTS[name],
        summary=spec.summary,
        splits=f"plays `train` of {', '.join(spec.splits)}",
        description=description,
        sections="\n\n".join(
            f"## {title}\n\n{sections[title]}{extra.get(title, '')}"
            for title in titles
            if title not in (*OF_ALL, *tail)
        ),
        example=sections["Arguments"].split("```python\n")[1].split("\n```")[0].replace("RefShapes-Ground-v0", name),
        arguments=arguments(name),
        options=option_table("vg_gym.envs.options.EnvOptions"),
        tail="\n\n".join(f"## {title}\n\n{sections[title].replace('RefShapes-Ground-v0', name)}" for title in tail),
    )


def caption(name: str) -> str:
    """Return the sentence below the picture."""
    played = "Three seeded episodes with the default options but `min_steps=1`, played by the greedy oracle."
    if registry.dataset_spec(vg_gym.ENVIRONMENTS[name]).read_from_disk:
        played += " The scenes are of RefShapes, which stands in where the data are not on the machine."
    recorded = ", recorded boxes orange" if targets(name) == "any" else ""
    return f"{played} The box is yellow, its path white{recorded}, the truth dashed green."


def targets(name: str) -> str:
    """Return the value of the option ``targets`` of an id."""
    return gymnasium.spec(name).kwargs.get("targets", "one")


@cache
def made(value: str) -> gymnasium.Env:
    """Make an environment with the default options and a value of ``targets``."""
    return gymnasium.make("RefShapes-Ground-v0", targets=value)


def docstring() -> tuple[str, dict[str, str]]:
    """Return the first sentences of the class's docstring, and its sections by title, as Markdown."""
    text = re.sub(r"\nArgs:\n.*?(?=\n## )", "\n", inspect.getdoc(GroundingEnv) or "", flags=re.DOTALL)
    description, *rest = re.split(r"^## (.+)\n", markdown(text), flags=re.MULTILINE)
    return description.strip(), {title: body.strip() for title, body in zip(rest[::2], rest[1::2], strict=True)}


def action_sets() -> str:
    """Return the table of action sets, from the module's docstring."""
    rows = [line for line in (actions.__doc__ or "").splitlines() if line.startswith("|")]
    return "All sets, and how far each reaches ([results](../results/bounds.md#actions)):\n\n" + "\n".join(rows)


def moves(answers: bool) -> str:
    """Return the table of the moves of Discrete sets by index."""
    names = {name: actions.make_actions(name, answers=answers).names for name in ("classic", "edges")}
    rows = zip_longest(map(str, range(max(map(len, names.values())))), *names.values(), fillvalue="")
    return "Indices of the Discrete sets:\n\n" + table(("index", *(f"`{name}`" for name in names)), rows)


def observations(space: Dict) -> str:
    """Return the spaces of the default observation."""
    rows = [
        (f"`{key}`", str(part.shape), str(part.dtype), f"{part.low.min():g} to {part.high.max():g}")
        for key, part in space.items()
    ]
    return "With the default options and the built-in CLIP:\n\n" + table(("key", "shape", "type", "values"), rows)


def arguments(name: str) -> str:
    """Return the table of arguments outside the options: defaults from signatures and id, text from the docstring."""
    own = inspect.signature(GroundingEnv).parameters["render_mode"]
    given = [*inspect.signature(make_engine).parameters.values(), own]
    fixed, said = gymnasium.spec(name).kwargs, arguments_said()
    rows = [(f"`{p.name}`", f"`{fixed.get(p.name, p.default)!r}`", said[p.name]) for p in given if p.name not in FIXED]
    return table(("argument", "default", "what"), rows)


def arguments_said() -> dict[str, str]:
    """Return the text of each argument in a docstring."""
    section = re.search(r"\nArgs:\n(.*?)(?=\n\S)", inspect.getdoc(GroundingEnv) or "", re.DOTALL)
    assert section
    entries = re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", section[1], re.MULTILINE)
    return {name: markdown(" ".join(words.split())) for name, words in entries}


if __name__ == "__main__":
    main()
