"""Upload of agents to the Hugging Face hub, with a model card that shows their metrics, options and a film."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import OmegaConf

from vg_gym import __version__, registry
from vg_gym.agents.checkpoint import find_agent, read_about
from vg_gym.agents.grounder import AgentGrounder
from vg_gym.agents.publishing.film import film_of
from vg_gym.agents.publishing.hub import ABOUT, HUB, WEIGHTS, check_portable, check_repository
from vg_gym.data.drawing import save_gif
from vg_gym.errors import VGGymError, one_line
from vg_gym.storage.run_folder import CONFIG

PRIVATE_OPTIONS = ("root", "out", "features", "init_from", "plugins")
"""Options of a training that may name folders of its machine, and are not published."""
DRAWN_PREFIX = "refshapes"
"""Prefix of the names of data sets whose images may be published."""
FILM_EPISODES = 3
"""Number of episodes in the film."""
FIGURES = {"mean IoU": "mean_iou", "Acc@0.5": "acc@0.5", "Acc@0.75": "acc@0.75"}
"""Keys of ``results.json`` by the columns of the card."""
VALIDATION = {"mean IoU": "iou", "Acc@0.5": "acc@0.5", "steps": "length"}
"""Keys of the validation metrics in ``agent.json`` by the columns of the card."""


@dataclass(frozen=True)
class Pushed:
    """Result of a push."""

    url: str
    """URL of the repository."""
    commit: str
    """Commit, which always loads exactly this agent."""


def push(run: str, repository: str, private: bool = False, film: bool = False) -> Pushed:
    """Upload an agent with its model card.

    Args:
        run: a run folder of ``train_agent.py``, or a built-in agent.
        repository: ``ORG/NAME``; created if it does not exist.
        private: whether only the owner sees a new repository.
        film: whether episodes are shown if the data are not drawn scenes; this publishes images of the data.

    Raises:
        VGGymError: the agent does not exist, it names files of this machine, or the hub refuses it or cannot be
            reached.
    """
    import huggingface_hub

    check_repository(repository)
    with TemporaryDirectory(prefix="vg_gym-push-") as folder:
        write_package(run, repository, Path(folder), film)
        try:
            api = huggingface_hub.HfApi(library_name="vg_gym", library_version=__version__)
            url = api.create_repo(repository, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository, folder_path=folder, commit_message=f"An agent of vg_gym {__version__}"
            )
        except Exception as error:  # errors of the hub and of its client have no common base class
            raise VGGymError(
                f"{repository} was not pushed: {one_line(error)}. Check that the hub can be reached; log in with "
                "`hf auth login`, or set HF_TOKEN to a token that may write"
            ) from error
    return Pushed(str(url), commit.oid)


def write_package(run: str, repository: str, folder: Path, film: bool = False) -> None:
    """Write the files of a repository: the agent, its card, its options and its film.

    Args:
        run: a run folder, or a built-in agent.
        repository: ``ORG/NAME``.
        folder: an empty folder.
        film: see :func:`push`.

    Raises:
        VGGymError: the agent does not exist, or it names files of this machine.
    """
    if run.startswith(HUB):
        raise VGGymError(f"{run} is on the hub already; name a run folder or a built-in agent")
    agent, options = find_agent(run), _training_options(Path(run))
    about = _without_paths(read_about(agent))
    check_portable(about, run)
    (folder / ABOUT).write_text(json.dumps(about, indent=1))
    (folder / WEIGHTS).write_bytes((agent / WEIGHTS).read_bytes())
    has_film = _write_film(agent, about, options, folder / "film.gif", film)
    published = {key: value for key, value in options.items() if key not in PRIVATE_OPTIONS}
    if published:
        published["dataset"] = about["dataset"]
        (folder / CONFIG).write_text(OmegaConf.to_yaml(published))
    (folder / "README.md").write_text(card(repository, about, _test_rows(Path(run)), has_film, bool(published)))


def _training_options(run: Path) -> dict[str, Any]:
    """Return the training options of a run; empty for a built-in agent."""
    path = run / CONFIG
    return dict(OmegaConf.to_container(OmegaConf.load(path))) if path.is_file() else {}  # type: ignore[arg-type]


def _without_paths(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return an ``agent.json`` without folders of its machine."""
    about = {**about, "env": {**about["env"], "features": ""}}
    about["dataset"] = Path(about["dataset"]).name if Path(about["dataset"]).suffix else about["dataset"]
    return about


def _test_rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of the test table of a run; empty if it has none."""
    path = run / "test/results.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def _write_film(agent: Path, about: Mapping[str, Any], options: Mapping[str, Any], path: Path, film: bool) -> bool:
    """Write the film of an agent if its images may be published, and return whether it was written."""
    name = str(options.get("dataset", about["dataset"]))
    drawn = all(
        dataset in registry.DATASETS and dataset.startswith(DRAWN_PREFIX) for dataset in (name, about["dataset"])
    )
    if not (drawn or film):
        return False
    remedy = "leave --film out, or register the data set under a name of its own"
    registry.refuse_code(registry.DatasetSpec, name, f"{agent}: dataset", remedy)
    data = registry.open_dataset(name, "test", options.get("root"))
    samples = [data[index] for index in range(0, len(data), max(1, len(data) // FILM_EPISODES))][:FILM_EPISODES]
    save_gif(film_of(AgentGrounder(str(agent)), samples), path)
    return True


CARD = """---
library_name: vg_gym
pipeline_tag: reinforcement-learning
tags:
- reinforcement-learning
- visual-grounding
- referring-expression-comprehension
---

# {repository}

An agent of vg_gym: given an image and a referring expression, it moves a box until it fits the object.
It was trained with {algo} on `{dataset}`, with CLIP `{clip}` and the reward `{reward}`.
{film}
## Use

    pip install vg_gym
    vg-gym ground picture.png "the small cross left of the blue heart" --method agent:hub:{repository}

```python
from vg_gym import registry

agent = registry.grounder("agent:hub:{repository}")  # revision="COMMIT" pins a version
agent.ground([query])
```

    vg-gym evaluate --methods agent:hub:{repository} --dataset {dataset} --split test --out results/agent

## Figures

{figures}
## Environment

{environment}
{config}"""


def card(repository: str, about: Mapping[str, Any], rows: list[dict[str, Any]], film: bool, config: bool) -> str:
    """Return the model card of an agent, as Markdown with the header of the hub.

    Args:
        repository: ``ORG/NAME``.
        about: ``agent.json`` of the agent.
        rows: rows of ``results.json`` on the test split; may be empty.
        film: whether a ``film.gif`` exists.
        config: whether a ``config.yaml`` exists.
    """
    env = about["env"]
    return CARD.format(
        repository=repository,
        algo=about["algo"].upper(),
        dataset=about["dataset"],
        clip=about["clip"],
        reward=env["reward"],
        film="\n![Episodes of the agent: its box is yellow, its path white, the truth dashed green](film.gif)\n" * film,
        figures=_figures(about, rows),
        environment=_table(("option", "value"), [(f"`{key}`", f"`{value}`") for key, value in env.items()]),
        config=f"\nAll options of its training are in [{CONFIG}]({CONFIG}).\n" if config else "",
    )


def _figures(about: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    text = ""
    if rows:
        head = ("method", "role", *FIGURES)
        cells = [(f"`{_method_name(r)}`", r["role"], *(f"{r[key]:.3f}" for key in FIGURES.values())) for r in rows]
        first = rows[0]
        text += f"{first['dataset']}, {first['split']}, {first['n']:,} expressions:\n\n{_table(head, cells)}\n"
    if validation := about.get("val"):
        metrics = {title: validation[key] for title, key in VALIDATION.items() if key in validation}
        table = _table(tuple(metrics), [[f"{value:.3f}" for value in metrics.values()]])
        text += f"Validation, during training:\n\n{table}\n"
    return text or "No metrics are recorded.\n"


def _method_name(row: Mapping[str, Any]) -> str:
    """Return the method of a row; the agent itself appears without its folder."""
    return "this agent" if row["method"].startswith("agent:") else row["method"]


def _table(head: Any, rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
