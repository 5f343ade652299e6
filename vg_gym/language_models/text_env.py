"""The environment in text, in which a vision-language policy plays the same episodes as other agents.

An observation is an image with the current box drawn, and a text. An answer is moves in words, ``stop``, or a new box
in a named frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.boxes import EDGES, to_numpy
from vg_gym.data.drawing import draw_boxes
from vg_gym.errors import VGGymError
from vg_gym.frames import FRAMES, frame_called, place, say
from vg_gym.language_models.box_text import answer_part, find_boxes

STOP = "stop"
"""Word that pulls the trigger."""
RECORD, NOTHING = "this one", "nothing"
"""Words that record the box and go on, and that end the episode without the box, with ``targets="any"``."""
LOOK = "look closer"
"""Word that looks again at the region around the box, with ``zoom``."""
STAY = "stay"
"""Word for no move."""


@runtime_checkable
class EdgeActions(Protocol):
    """The action sets that have words: they move each edge by one of a few steps, pull the trigger or jump."""

    levels: np.ndarray
    """Steps of an edge as signed fractions of the box's side (L,); positive steps go out."""
    stay: int
    """Index of the step that leaves an edge where it is."""
    jumps: int
    """Number of proposals that an action can jump to."""
    names: tuple[str, ...]
    """Names of all choices: L for each edge, then those of the last part."""
    trigger: np.ndarray
    """The action (5,) that pulls the trigger."""
    record: np.ndarray | None
    """The action (5,) "this one, and on"; None in sets without answers."""
    nothing: np.ndarray | None
    """The action (5,) "nothing more"; None in sets without answers."""
    look: np.ndarray | None
    """The action (5,) "look closer"; None in sets without zoom."""


VIEW_TEXT = "shows the region around the box enlarged, right of the image; numbers refer to the image alone."
"""End of the sentence on closer looks: the view makes the picture wider, but not the image that frames measure."""


@dataclass(frozen=True)
class TextObservation:
    """Observation of a vision-language policy."""

    task: str
    """The sentence that names the expression and asks for its box."""
    state: str
    """Current box, step, and the boxes that are already recorded."""
    answers: str
    """Format of the answer."""
    image: Image.Image
    """Image with the current box."""

    @property
    def text(self) -> str:
        """Task, state, and format of the answer."""
        return f"{self.task} {self.state} {self.answers}"

    def messages(self) -> list[dict[str, Any]]:
        """Return the message for a chat template; the image goes to the processor separately."""
        return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": self.text}]}]


class TextGroundingEnv:
    """``vg_gym.envs.GroundingEnv`` with answers in words, and the same rewards and ends of episodes.

    An answer is ``stop``; or comma-separated moves of edges, ``left in coarse, top out fine`` (edges that are not named
    stay); or, if the action set jumps, ``jump to 3``, one of the proposals that the observation lists; or a new box
    ``[x1, y1, x2, y2]``. With ``targets="any"``, ``this one`` records the box and goes on, and ``nothing`` ends the
    episode without the current box. With ``zoom``, ``look closer`` adds an enlarged view of the region around the box
    to the image, right of the whole one, as long as the box lies in it. Any other answer is a step without a move, and
    sets ``info["unreadable"]``.

    Args:
        frame: frame of boxes in answers and observations, a key of :data:`vg_gym.frames.FRAMES`.
        size: length of the longer side of the images in pixels.
        **arguments: arguments of ``vg_gym.envs.GroundingEnv``; the action set must move edges
            (``multi-edges``, ``fine-edges``, ``jump-edges``).

    Raises:
        VGGymError: the frame is unknown, the action set does not move edges, or as for the environment.
    """

    def __init__(self, frame: str = "0-1000", size: int = 512, **arguments: Any):
        frame_called(frame)
        env: Any = gymnasium.make("RefCOCOg-Ground-v0", disable_env_checker=True, **arguments).unwrapped
        self.env, self.frame, self.size = env, frame, size
        actions = env.engine.actions
        if not isinstance(actions, EdgeActions):
            raise VGGymError(f"action={actions.name!r} has no words; use multi-edges, fine-edges or jump-edges")
        self.actions = actions
        self.arrays: dict[str, np.ndarray] = {}
        """Last observation of ``vg_gym.envs.GroundingEnv``, for policies that read arrays."""

    def reset(self, **arguments: Any) -> tuple[TextObservation, dict[str, Any]]:
        """Start an episode; see :meth:`GroundingEnv.reset`."""
        self.arrays, info = self.env.reset(**arguments)
        return self._observation(info), info

    def step(self, answer: str) -> tuple[TextObservation, float, bool, bool, dict[str, Any]]:
        """Act on an answer; return observation, reward, terminated, truncated and info."""
        words = answer_part(answer)
        boxes = find_boxes(words, self.frame)
        box = place(boxes[0], self.frame, self._image_size()) if boxes else None
        action = None if boxes else read_action(words, self.actions)
        if box is not None:
            self.arrays, reward, terminated, truncated, info = self.env.place(
                box_ops.normalize(box, self._image_size())
            )
        else:
            stay = read_action(STAY, self.actions)
            self.arrays, reward, terminated, truncated, info = self.env.step(stay if action is None else action)
        info["unreadable"] = box is None and action is None
        return self._observation(info), reward, terminated, truncated, info

    def _image_size(self) -> tuple[int, int]:
        return self.env.engine.query(0).image.size

    def _observation(self, info: dict[str, Any]) -> TextObservation:
        query = self.env.engine.query(0)
        recorded = self.env.engine.recorded_boxes(0)
        # The picture has no caption, which would shift what a model calls thousandths of the picture.
        picture = draw_boxes(query.image.array(), info["box"], size=self.size, recorded=recorded)
        side_by_side = np.concatenate([picture, *self._view(info["box"], picture)], 1)
        task = f"Fit the yellow box to: {query.expression}."
        return TextObservation(task, self._state(info["box"]), self._answers(), Image.fromarray(side_by_side))

    def _view(self, box: np.ndarray, picture: np.ndarray) -> list[np.ndarray]:
        """Return the enlarged view around the box as high as the picture; nothing without a view that the box is in."""
        engine = self.env.engine
        if not engine.looks or not to_numpy(engine.looks.observe(engine.boxes, None))[0, -1]:
            return []
        image, (x1, y1, x2, y2) = engine.query(0).image, to_numpy(engine.looks.views)[0]
        scale, low, side = box_ops.image_scale(image.size), np.array([x1, y1] * 2), np.array([x2 - x1, y2 - y1] * 2)
        left, top, right, bottom = np.rint(np.array([x1, y1, x2, y2]) * scale).astype(int)
        view = draw_boxes(image.array()[top:bottom, left:right], (box - low) / side, size=picture.shape[0])
        return [np.pad(view, ((0, picture.shape[0] - view.shape[0]), (0, 0), (0, 0)))]

    def _state(self, box: np.ndarray) -> str:
        """Return sentences on the current box (normalised), the step, and the boxes that are already recorded."""
        engine = self.env.engine
        recorded = "; ".join(self._said(one) for one in engine.recorded_boxes(0))
        step = f"step {int(engine.steps[0])} of {engine.options.max_steps}"
        state = f"It is at {self._said(box)} ({FRAMES[self.frame].summary}), {step}."
        return f"{state} Recorded: {recorded}." if recorded else state

    def _said(self, box: np.ndarray) -> str:
        """Return a normalised box as a text in the frame."""
        size = self._image_size()
        return say(box_ops.denormalize(box, size), self.frame, size)

    def _answers(self) -> str:
        """Return the sentences on the format of the answer."""
        sizes = " or ".join(sorted({name.rpartition(" ")[2] for name in self.actions.names if " out " in name}))
        look = f" '{LOOK}' {VIEW_TEXT}" if self.actions.look is not None else ""
        several = (
            f" If several objects are meant, '{RECORD}' records the box and goes on; '{NOTHING}' ends without the box."
        )
        return (
            f"Answer with moves of edges ({', '.join(EDGES)}; in or out; {sizes}), e.g. 'left in coarse, top out "
            f"fine', or with a new box, or with '{STOP}' once it fits.{look}"
            f"{several if self.actions.record is not None else ''}{self.proposals()}"
        )

    def proposals(self) -> str:
        """Return a sentence that lists the proposals to jump to; empty without such actions."""
        if not self.actions.jumps:
            return ""
        proposals = to_numpy(self.env.engine.proposals)[0]
        boxes = [self._said(row[:4]) for row in proposals if row[4] > 0]
        listed = "; ".join(f"{number} at {box}" for number, box in enumerate(boxes))
        return f" Or jump to a proposal, e.g. 'jump to 0': {listed}." if boxes else ""


def _single_words(actions: EdgeActions) -> list[tuple[np.ndarray | None, str]]:
    """Return the actions that stand alone, None where the set lacks them, and their words."""
    return [(actions.trigger, STOP), (actions.record, RECORD), (actions.nothing, NOTHING), (actions.look, LOOK)]


def say_action(action: np.ndarray, actions: EdgeActions) -> str:
    """Return an action (5,) in words, the inverse of :func:`read_action`.

    >>> from vg_gym.envs.actions import make_actions
    >>> say_action(np.array([0, 2, 3, 2, 0]), make_actions("multi-edges"))
    'left out coarse, right in fine'
    """
    for code, word in _single_words(actions):
        if code is not None and action[4] == code[4]:
            return word
    count = len(actions.levels)
    words = [actions.names[edge * count + int(action[edge])] for edge in range(4) if action[edge] != actions.stay]
    if action[4] > 1:
        words.append(f"jump to {action[4] - 2}")
    return ", ".join(words) or STAY


def read_action(text: str, actions: EdgeActions) -> np.ndarray | None:
    """Parse the action (5,) in a text; return None if it finds none.

    >>> from vg_gym.envs.actions import make_actions
    >>> read_action("Left OUT coarse; right in fine.", make_actions("multi-edges")).tolist()
    [0, 2, 3, 2, 0]
    >>> read_action("jump to 3", make_actions("jump-edges", jumps=12)).tolist()
    [3, 3, 3, 3, 5]
    """
    words = re.sub(r"[^a-z]+", " ", text.lower()).strip()
    for code, word in _single_words(actions):
        if code is not None and words == word:
            return code.copy()
    action, count, read = np.array([actions.stay] * 4 + [0]), len(actions.levels), 0
    for edge in range(4):
        for level in range(count):
            name = actions.names[edge * count + level]
            if level != actions.stay and re.search(rf"\b{name}\b", words):
                action[edge], read = level, read + 1
    jump = re.search(r"\bjump to (\d{1,6})\b", text.lower())
    if jump and int(jump[1]) < actions.jumps:
        action[4], read = 2 + int(jump[1]), read + 1
    return action if read or words == STAY else None
