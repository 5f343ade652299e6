"""The environment as tools of a language model: an object for TRL's ``GRPOTrainer(environment_factory=...)``.

TRL takes every public method of the object as a tool, its docstring as the tool's description, and ``get_reward`` as
the reward of a finished conversation (read from the source of TRL 1.16). Every public method of these classes is
therefore a tool. Tools return content blocks, a picture and a text, which TRL hands to the model's processor.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from PIL import Image

from vg_gym.boxes import EDGES
from vg_gym.data.drawing import draw_zoom
from vg_gym.errors import VGGymError, unknown
from vg_gym.frames import FRAMES, frame_called
from vg_gym.language_models.box_text import find_boxes
from vg_gym.language_models.text_env import LOOK, NOTHING, RECORD, STAY, STOP, TextGroundingEnv, TextObservation

PICTURES = ("all", "first")
"""Answers that have a picture: all, or that of ``reset`` only. Those of ``zoom`` always have one."""
TOOLS = ("move", "place", "jump", "zoom", "this_one", "nothing", "stop")
"""Names of the tools; a class has some of them."""
Content = list[dict[str, Any]]
"""Content blocks of a message: ``{"type": "image", "image": ...}`` and ``{"type": "text", "text": ...}``."""


def tool(method: Callable[..., Content]) -> Callable[..., Content]:
    """Turn a call whose arguments do not fit the method into a step without a move and an answer that says why."""
    signature = inspect.signature(method)

    @wraps(method)
    def call(self: GroundingTools, *values: Any, **arguments: Any) -> Content:
        if self.is_over:
            return _text("The episode is over; this call changed nothing.")
        try:
            signature.bind(self, *values, **arguments)
        except TypeError as error:
            return self._refuse(f"{method.__name__}(): {error}.")
        return method(self, *values, **arguments)

    return call


class GroundingTools:
    """Tools that move and place a box until it fits an expression; the rewards are those of ``GroundingEnv``.

    Every call is a step of the environment. A call that cannot be carried out is a step without a move, and its answer
    says what was wrong. After the end of an episode calls change nothing. The reward of a conversation is the sum of
    the rewards of its steps; if the model stops calling tools before the end, it is the sum so far.

    Args:
        frame: frame of boxes in calls and answers, a key of :data:`vg_gym.frames.FRAMES` with plain numbers of the
            original image, e.g. ``0-1000``, ``pixels``, ``normalised`` or ``0-1000-yx``.
        size: length of the longer side of the pictures in pixels.
        pictures: ``all``, or ``first`` for answers in text after the first picture, which saves tokens.
        **arguments: arguments of ``vg_gym.envs.GroundingEnv``, as for
            :class:`~vg_gym.language_models.text_env.TextGroundingEnv`.

    Raises:
        VGGymError: the frame, the pictures or an argument is unknown, or ``targets`` or ``action`` needs another class,
            which :func:`tools_of` takes.

    >>> env = GroundingTools("pixels", dataset="refshapes", dataset_options={"scenes": 2}, reward="iou", min_steps=1)
    >>> first = env.reset(index=0)
    >>> env.place([10, 10, 60, 60])[-1]["text"]
    'It is at [10, 10, 60, 60] (pixels of the original image), step 1 of 10.'
    """

    _targets = "one"

    def __init__(self, frame: str = "0-1000", size: int = 512, pictures: str = "all", **arguments: Any):
        if frame_called(frame).token or FRAMES[frame].resized:
            raise VGGymError(f"frame={frame!r}: tools take plain numbers of the original image; use 0-1000 or pixels")
        if pictures not in PICTURES:
            raise unknown("value of pictures", pictures, PICTURES)
        if arguments.setdefault("targets", self._targets) != self._targets:
            raise VGGymError(f"{type(self).__name__} plays targets={self._targets!r}; use tools_of()")
        self.face = TextGroundingEnv(frame, size, **arguments)
        """The environment in words that plays the calls."""
        if bool(self.face.actions.jumps) != hasattr(self, "jump"):
            raise VGGymError(f"{type(self).__name__} is not for action={arguments.get('action')!r}; use tools_of()")
        self._pictures = pictures
        self.rewards: list[float] = []
        """Rewards of the steps of the episode."""
        self.info: dict[str, Any] = {}
        """``info`` of the last step."""
        self.is_over = True
        """True before the first episode and after the end of one."""

    def reset(self, index: int | None = None, seed: int | None = None, **columns: Any) -> Content:
        """Start an episode and return the first picture and the task.

        Args:
            index: number of the episode in the data set, a column of the trainer's rows.
            seed: seed of the initial box; default: the index, so that all conversations of a row have the same start.
            **columns: other columns of the row, which are not used.

        Raises:
            VGGymError: index and seed are missing, or out of range.
        """
        if index is None and seed is None:
            raise VGGymError("reset() needs the column index or seed: conversations of one row must play one episode")
        options = None if index is None else {"index": int(index)}
        observation, self.info = self.face.reset(seed=int(index if seed is None else seed), options=options)  # type: ignore[arg-type]
        self.rewards, self.is_over = [], False
        return [*_picture(observation.image), *_text(f"{observation.task} {observation.state} {self._ask}")]

    def get_reward(self) -> float:
        """Return the sum of the rewards of the episode so far."""
        return float(sum(self.rewards))

    @tool
    def move(self, left: str = STAY, top: str = STAY, right: str = STAY, bottom: str = STAY) -> Content:
        """Move edges of the box, e.g. left="in coarse", bottom="out fine". Edges without a value stay.

        Args:
            left: "in" or "out" and a step size, e.g. "in coarse", or "stay".
            top: like left.
            right: like left.
            bottom: like left.
        """
        moves = dict(zip(EDGES, (left, top, right, bottom), strict=True))
        for edge, value in moves.items():
            if f"{edge} {value}" not in self.face.actions.names:
                return self._refuse(f"move(): {edge}={value!r} is not a move; use {', '.join(self._moves())}.")
        words = ", ".join(f"{edge} {value}" for edge, value in moves.items() if value != STAY)
        return self._answer(self._step(words or STAY))

    @tool
    def place(self, box: list[float]) -> Content:
        """Replace the box by a new one.

        Args:
            box: the four numbers of the new box, in the order and unit of the current box.
        """
        try:
            numbers = [float(number) for number in box]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
            return self._refuse(f"place(): box={box!r:.100} is not a list of four numbers.")
        observation = self._step(f"[{', '.join(f'{number:.6f}' for number in numbers)}]")
        if self.info["unreadable"]:
            return self._answer(observation, f"place(): box={box!r:.100} is not inside the image.")
        return self._answer(observation)

    @tool
    def zoom(self) -> Content:
        """Look at the part of the image around the box, enlarged. The box stays where it is."""
        observation = self._step(STAY if self.face.actions.look is None else LOOK)
        image, size = self.face.env.engine.query(0).image.array(), self.face.size
        picture = Image.fromarray(draw_zoom(image, self.info["box"], size))
        return [*_picture(picture), *_text(self._state(observation))]

    @tool
    def stop(self) -> Content:
        """End the episode with the current box, once it fits."""
        observation = self._step(STOP)
        if self.is_over:
            return self._answer(observation)
        first = self.face.env.engine.min_steps
        return self._answer(observation, f"stop() counts from step {first} on.")

    def _step(self, words: str) -> TextObservation:
        """Take a step in words; keep its reward and whether it ended the episode."""
        observation, reward, terminated, truncated, self.info = self.face.step(words)
        self.rewards.append(float(reward))
        self.is_over = terminated or truncated
        return observation

    def _refuse(self, problem: str) -> Content:
        """Take a step without a move, and answer with what was wrong with the call."""
        return self._answer(self._step(STAY), f"{problem} The box stays.")

    def _answer(self, observation: TextObservation, problem: str = "") -> Content:
        """Return the answer of a tool: the picture, if wanted, a problem with the call, and the state."""
        picture = _picture(observation.image) if self._pictures == "all" else []
        return [*picture, *_text(" ".join([problem, self._state(observation)]).strip())]

    def _state(self, observation: TextObservation) -> str:
        return f"{observation.state} The episode is over." if self.is_over else observation.state

    def _moves(self) -> list[str]:
        """Return the words of the moves of an edge, e.g. ``out coarse``."""
        actions = self.face.actions
        return [name.partition(" ")[2] for name in actions.names[: len(actions.levels)]]

    @property
    def _ask(self) -> str:
        """Sentences on the tools."""
        return f"Move an edge with {', '.join(self._moves())}, or place a new box; call stop once it fits."


class GroundingAnyTools(GroundingTools):
    """Tools for ``targets="any"``: the expression may mean none, one or several objects.

    Args:
        frame: see :class:`GroundingTools`.
        size: see :class:`GroundingTools`.
        pictures: see :class:`GroundingTools`.
        **arguments: see :class:`GroundingTools`.
    """

    _targets = "any"

    @tool
    def this_one(self) -> Content:
        """Record the current box as one of the objects that are meant, and go on to the next object."""
        return self._answer(self._step(RECORD))

    @tool
    def nothing(self) -> Content:
        """End the episode without the current box: nothing is meant, or all objects are recorded."""
        return self._answer(self._step(NOTHING))

    @property
    def _ask(self) -> str:
        return (
            f"{super()._ask} If several objects are meant, this_one records the box and goes on; nothing ends without "
            "the current box."
        )


class GroundingJumpTools(GroundingTools):
    """Tools for ``action="jump-edges"``: the box can also jump to the proposals that the first message lists.

    Args:
        frame: see :class:`GroundingTools`.
        size: see :class:`GroundingTools`.
        pictures: see :class:`GroundingTools`.
        **arguments: see :class:`GroundingTools`.
    """

    @tool
    def jump(self, number: int) -> Content:
        """Replace the box by a proposal.

        Args:
            number: number of the proposal in the first message.
        """
        observation = self._step(f"jump to {number}")
        problem = f"jump(): there is no proposal {number!r:.100}." if self.info["unreadable"] else ""
        return self._answer(observation, problem)

    @property
    def _ask(self) -> str:
        return f"{super()._ask}{self.face.proposals()}"


class GroundingAnyJumpTools(GroundingAnyTools, GroundingJumpTools):
    """Tools for ``targets="any"`` and ``action="jump-edges"``.

    Args:
        frame: see :class:`GroundingTools`.
        size: see :class:`GroundingTools`.
        pictures: see :class:`GroundingTools`.
        **arguments: see :class:`GroundingTools`.
    """


KINDS = {
    (False, False): GroundingTools,
    (True, False): GroundingAnyTools,
    (False, True): GroundingJumpTools,
    (True, True): GroundingAnyJumpTools,
}
"""Class of tools by two conditions: an expression may mean any number of objects, and actions may jump."""


def tools_of(**arguments: Any) -> Callable[[], GroundingTools]:
    """Return a factory for ``GRPOTrainer(environment_factory=...)``, whose environments share data, CLIP and features.

    Args:
        **arguments: arguments of :class:`GroundingTools`; ``targets`` and ``action`` choose the class of :data:`KINDS`.
    """
    kind = KINDS[arguments.get("targets") == "any", arguments.get("action") == "jump-edges"]
    shared: dict[str, Any] = {}

    def make() -> GroundingTools:
        env = kind(**{**arguments, **shared})
        engine = env.face.env.engine
        shared.update(dataset=engine.episodes.source, clip=engine.clip, bank=engine.features)
        return env

    return make


def call_of(words: str, frame: str = "0-1000") -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the tool that does what an answer in words says.

    Args:
        words: answer of :func:`~vg_gym.language_models.text_env.say_action`, or a box.
        frame: frame of a box in it.

    >>> call_of("left in coarse, top out fine"), call_of("this one"), call_of("[1, 2, 30, 40]")
    (('move', {'left': 'in coarse', 'top': 'out fine'}), ('this_one', {}), ('place', {'box': [1.0, 2.0, 30.0, 40.0]}))
    """
    if boxes := find_boxes(words, frame):
        return "place", {"box": [float(number) for number in boxes[0]]}
    if words in (STOP, RECORD, NOTHING):
        return words.replace(" ", "_"), {}
    if words == LOOK:
        return "zoom", {}
    *moves, last = words.split(", ")
    if last.startswith("jump to "):  # moves of edges beside a jump are ignored
        return "jump", {"number": int(last.rpartition(" ")[2])}
    parts = [] if words == STAY else [part.partition(" ") for part in (*moves, last)]
    return "move", {edge: move for edge, _, move in parts}


def _picture(image: Image.Image) -> Content:
    return [{"type": "image", "image": image}]


def _text(text: str) -> Content:
    return [{"type": "text", "text": text}]
