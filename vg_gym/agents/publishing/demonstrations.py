"""Episodes as conversations with pictures, for supervised fine-tuning of vision-language models.

The files are parquet (pictures inside) and JSON lines (pictures beside), with the columns of TRL's ``SFTTrainer``:
``messages`` and ``images``. Mistakes can be mixed in: at some steps a random move is played instead of the agent's, and
the agent answers the state that follows, as in DAgger (Ross et al., AISTATS 2011). The column ``mistakes`` numbers the
answers that a training should mask.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vg_gym import __version__, registry
from vg_gym.agents.publishing.minari_data import env_options, make_actor
from vg_gym.data.parquet_files import parquet_package
from vg_gym.errors import VGGymError, unknown
from vg_gym.language_models.grounding_tools import TOOLS, Content, GroundingTools, call_of, tools_of
from vg_gym.language_models.text_env import TextGroundingEnv, say_action
from vg_gym.storage.files import make_folder, replacing, write_json, write_text

CALLS = ("words", "tools")
"""Forms of the answers: ``words`` of ``TextGroundingEnv``, or calls of the ``tools`` of ``GroundingTools``."""
EPISODES_PER_FILE = 50
"""Number of episodes that are stored together."""
JPEG_QUALITY = 92
"""Quality of the stored pictures, 1 to 100."""
ABOUT, CARD = "about.json", "README.md"
"""Names of the files with the options of the demonstrations, and of their card."""
Action = np.ndarray
"""An action (5,) of an action set that moves edges."""


@dataclass(frozen=True)
class Demonstrations:
    """Options of demonstrations."""

    dataset: str = "refshapes"
    """Name of the data set."""
    agent: str = "oracle"
    """``oracle``, which sees the target, ``random``, or ``agent:NAME``."""
    mistakes: float = 0.0
    """Probability of a random move in place of the agent's, at each step."""
    calls: str = "words"
    """``words`` or ``tools``, see :data:`CALLS`."""
    frame: str = "0-1000"
    """Frame of boxes, a key of :data:`vg_gym.frames.FRAMES`."""
    size: int = 512
    """Longer side of the pictures in pixels."""
    seed: int = 0
    """Seed of the episodes' starts and of the mistakes."""

    def __post_init__(self):
        if not 0 <= self.mistakes < 1:
            raise VGGymError(f"mistakes={self.mistakes} must be at least 0 and less than 1")
        if self.calls not in CALLS:
            raise unknown("form of calls", self.calls, CALLS)


def write_demonstrations(
    out: Path, options: Demonstrations, episodes: int = 1000, command: str = "", **arguments: Any
) -> dict[str, Any]:
    """Play episodes of a data set, in its order, and write them as conversations.

    Finished files of :data:`EPISODES_PER_FILE` episodes are complete or missing; the same call resumes a stopped run,
    and a larger number of episodes extends it.

    Args:
        out: folder.
        options: options of the demonstrations.
        episodes: number of episodes, at most that of the data set.
        command: command line for the card.
        **arguments: options of the environment; they override those of the agent.

    Returns:
        Number of episodes and steps, and the mean return and IoU.

    Raises:
        VGGymError: pyarrow is missing, an option is unknown or out of range, or the folder has demonstrations with
            other options.
    """
    registry.dataset_spec(options.dataset)
    parquet_package("vg-gym demonstrations")
    merged = {**env_options(options.agent, arguments), **arguments, "dataset": options.dataset}
    about = {**asdict(options), "environment": {name: str(value) for name, value in sorted(merged.items())}}
    _check_folder(out, about)
    player = _Player(options, merged)
    if not 1 <= episodes <= player.available:
        raise VGGymError(f"episodes={episodes} must be between 1 and {player.available:,}, the size of the data set")
    write_json(make_folder(out) / ABOUT, about)
    files = []
    with tqdm(total=episodes, desc=f"{options.dataset} by {options.agent}", unit="episode") as bar:
        for first in range(0, episodes, EPISODES_PER_FILE):
            last = min(first + EPISODES_PER_FILE, episodes)
            files.append(make_folder(out / "data") / f"{first:06}-{last:06}.parquet")
            if not files[-1].is_file():
                _write_file(out, files[-1], [player.play(index) for index in range(first, last)])
            bar.update(last - first)
    for old in {*(out / "data").glob("*.parquet")} - {*files}:  # a shorter run's last file
        _lines_file(old).unlink(missing_ok=True)
        old.unlink()
    totals = _totals(files)
    write_text(out / CARD, _card(options, command, totals))
    return totals


def _check_folder(out: Path, about: dict[str, Any]) -> None:
    """Raise an error if a folder has demonstrations with other options."""
    if (out / ABOUT).is_file():
        saved = json.loads((out / ABOUT).read_text())
        if different := sorted(name for name in about if about[name] != saved.get(name)):
            raise VGGymError(f"{out} has demonstrations with another {different[0]}; name another folder with --out")


class _Player:
    """Environment and agent that play episodes as conversations."""

    def __init__(self, options: Demonstrations, arguments: dict[str, Any]):
        self.options = options
        if options.calls == "tools":
            self.tools: GroundingTools | None = tools_of(
                frame=options.frame, size=options.size, pictures="first", **arguments
            )()
            self.words = self.tools.face
        else:
            self.tools, self.words = None, TextGroundingEnv(options.frame, options.size, **arguments)
        env = self.words.env
        self.available = len(env.engine.episodes)
        self._actor = make_actor(options.agent, env)

    def play(self, index: int) -> dict[str, Any]:
        """Play an episode and return its row; pictures are Pillow images."""
        seed, engine = self.options.seed + index, self.words.env.engine
        rng = np.random.default_rng([self.options.seed, index])
        messages, over = [self._started(index, seed)], False
        mistakes: list[int] = []
        rewards: list[float] = []
        while not over:
            batch = {name: values[None] for name, values in self.words.arrays.items()}
            action = np.asarray(self._actor(batch))[0]
            if rng.random() < self.options.mistakes:
                action = _random_move(engine.actions, rng)
                mistakes.append(len(rewards))
            reward, over, reply = self._acted(action)
            messages += reply
            rewards.append(reward)
        info, query = self.info, engine.query(0)
        images = [part.pop("image") for message in messages for part in message["content"] if part["type"] == "image"]
        ended = {"iou": float(info.get("iou", np.nan)), "return": float(sum(rewards)), "steps": len(rewards)}
        row = {"messages": messages, "images": images, "mistakes": mistakes, "expression": query.expression}
        return {**row, "key": query.key, "index": index, **ended, **self._schemas()}

    def _started(self, index: int, seed: int) -> dict[str, Any]:
        """Start an episode and return the first message."""
        if self.tools is not None:
            content = self.tools.reset(index, seed)
            self.info = self.tools.info
            return {"role": "user", "content": content}
        observation, self.info = self.words.reset(seed=seed, options={"index": index})
        return {"role": "user", "content": _blocks(observation)}

    def _acted(self, action: Action) -> tuple[float, bool, list[dict[str, Any]]]:
        """Act, and return the reward, whether the episode is over, and the answer with what follows it."""
        words = say_action(action, self.words.actions)
        if self.tools is not None:
            name, arguments = call_of(words)
            content = getattr(self.tools, name)(**arguments)
            self.info = self.tools.info
            call = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            answer = {"role": "assistant", "content": [], "tool_calls": [call]}
            reply = [answer, {"role": "tool", "name": name, "content": content}]
            return self.tools.rewards[-1], self.tools.is_over, reply
        observation, reward, terminated, truncated, self.info = self.words.step(words)
        answer = {"role": "assistant", "content": [{"type": "text", "text": words}]}
        over = terminated or truncated
        return float(reward), over, [answer] if over else [answer, {"role": "user", "content": _blocks(observation)}]

    def _schemas(self) -> dict[str, str]:
        """Return the column with the schemas of the tools, JSON, which Transformers makes from their docstrings."""
        if self.tools is None:
            return {}
        from transformers.utils import get_json_schema

        names = [name for name in TOOLS if hasattr(self.tools, name)]
        return {"tools": json.dumps([get_json_schema(getattr(self.tools, name)) for name in names])}


def _blocks(observation: Any) -> Content:
    return [{"type": "image", "image": observation.image}, {"type": "text", "text": observation.text}]


def _random_move(actions: Any, rng: np.random.Generator) -> Action:
    """Return an action that moves edges at random, and at least one of them."""
    while True:
        moves = rng.integers(0, len(actions.levels), 4)
        if (moves != actions.stay).any():
            return np.array([*moves, 0])


def _write_file(out: Path, file: Path, rows: list[dict[str, Any]]) -> None:
    """Write the pictures, the JSON lines and then the parquet file of some episodes; the last is the mark of all."""
    for row in rows:
        names = [f"images/{row['index']:06}-{number:02}.jpg" for number in range(len(row["images"]))]
        row["images"] = [_stored(out, name, image) for name, image in zip(names, row["images"], strict=True)]
    lines = [json.dumps({**row, "images": [image["path"] for image in row["images"]]}) for row in rows]
    make_folder(_lines_file(file).parent)
    write_text(_lines_file(file), "\n".join(lines) + "\n")
    table = _table(rows)
    with replacing(file) as part:
        parquet_package().write_table(table, part)


def _lines_file(file: Path) -> Path:
    """Return the JSON lines of a parquet file; they are in another folder, since pandas reads ``data`` as a whole."""
    return file.parents[1] / "lines" / f"{file.stem}.jsonl"


def _stored(out: Path, name: str, image: Any) -> dict[str, Any]:
    """Write a picture and return its cell in a parquet file."""
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    make_folder((out / name).parent)
    with replacing(out / name) as part:
        part.write_bytes(buffer.getvalue())
    return {"bytes": buffer.getvalue(), "path": name}


def _table(rows: list[dict[str, Any]]) -> Any:
    """Return the table of some episodes; its metadata tell ``datasets`` that the column ``images`` holds pictures."""
    import pyarrow as pa

    text, number, real = pa.string(), pa.int64(), pa.float64()
    message = {"role": text, "content": pa.list_(pa.struct({"type": text, "text": text}))}
    if "tools" in rows[0]:
        function = pa.struct({"name": text, "arguments": text})
        message |= {"name": text, "tool_calls": pa.list_(pa.struct({"type": text, "function": function}))}
    columns = {
        "messages": pa.list_(pa.struct(message)), "images": pa.list_(pa.struct({"bytes": pa.binary(), "path": text})),
        "mistakes": pa.list_(number), "expression": text, "key": text, "index": number, "iou": real, "return": real,
        "steps": number,
    } | ({"tools": text} if "tools" in rows[0] else {})  # fmt: skip
    features = {name: _feature(kind) for name, kind in columns.items()}
    features["images"] = {"feature": {"_type": "Image"}, "_type": "List"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.Table.from_pylist(rows, pa.schema(list(columns.items()), metadata))


def _feature(kind: Any) -> dict[str, Any]:
    """Return the feature of ``datasets`` for a type of pyarrow."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _totals(files: list[Path]) -> dict[str, Any]:
    """Return number of episodes and steps, number of mistakes, and mean return and IoU, of all files."""
    lines = [json.loads(line) for file in files for line in _lines_file(file).read_text().splitlines()]
    return {
        "episodes": len(lines),
        "steps": sum(line["steps"] for line in lines),
        "mistakes": sum(len(line["mistakes"]) for line in lines),
        "mean return": float(np.mean([line["return"] for line in lines])),
        "mean IoU": float(np.mean([line["iou"] for line in lines])),
    }


_FORMS = {
    "words": "The answers are moves in words; a new picture follows each answer.",
    "tools": "The answers are calls of tools, whose schemas are in the column `tools`. The answers of the tools have "
    "no picture, since TRL 1.16 reads pictures in messages of the user alone. Its collator for pictures does not pass "
    "`tools` to the chat template either: write the schemas into a system message, if the model is to read them.",
}
"""Form of the calls -> its description in the card."""


def _card(options: Demonstrations, command: str, totals: dict[str, Any]) -> str:
    """Return the card: what the files are, and how they were made."""
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in totals.items())
    seen = "The oracle sees the target." if options.agent == "oracle" else ""
    return f"""---
configs:
- config_name: default
  data_files: data/*.parquet
---
# Demonstrations of `{options.agent}` on `{options.dataset}`

Conversations of visual grounding, made by vg_gym {__version__}: an agent moves a yellow box until it fits an
expression. {seen} {_FORMS[options.calls]}

    {command}

| | |
|---|---|
{numbers}

`data/*.parquet` has the pictures inside, `lines/*.jsonl` names those in `images/`. `messages` and `images` are the
columns of TRL's `SFTTrainer`; boxes are in the frame `{options.frame}`. With a probability of {options.mistakes} a step
is a random move instead of the agent's. `mistakes` numbers these answers of a conversation, from 0: a training that
does not mask them imitates them too. `iou` and `return` are those of the whole episode. Options: `{ABOUT}`.
"""
