"""What the demo's page shows, without the page and without Gradio: pictures, a method's answer, its numbers."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.data.expressions import KINDS
from vg_gym.data.images import ArrayImage
from vg_gym.data.refshapes import RefShapes
from vg_gym.errors import VGGymError
from vg_gym.pictures.found import Found
from vg_gym.pictures.ground import ground
from vg_gym.pictures.sources import picture

SCENES = RefShapes("refshapes", "test")
"""The drawn scenes; no built-in weights have seen them."""
SIZE = 640
"""Pixels of the longer side of what is drawn."""
PACKAGE = Path(__file__).parents[1]
"""Where warnings come from that are meant for whoever asks."""


@dataclass(frozen=True)
class Picture:
    """What is asked about."""

    image: ArrayImage
    """Its pixels."""
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Sentences of a drawn scene and the boxes (4,) in pixels that they mean; empty for other pictures."""

    def shown(self) -> Image.Image:
        """The picture itself, its longer side :data:`SIZE` pixels."""
        width, height = self.image.size
        factor = SIZE / max(width, height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return Image.fromarray(self.image.array()).resize(size, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Answer:
    """What a method says of a picture and a sentence, or why it says nothing."""

    found: Found | None
    """Its answer; None where it failed."""
    message: str
    """Why it failed, or what it warns of; empty where all is well."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """Name -> what is known of the answer."""
    target: np.ndarray | None = None
    """The true box (4,) in pixels, where the sentence is one of a drawn scene's."""

    @property
    def steps(self) -> int:
        """How many steps an agent took; 0 of a method without steps."""
        return 0 if self.found is None else len(self.found.trajectory) - 1

    def drawn(self, step: int | None = None) -> Image.Image | None:
        """The box, or where the agent was after some steps; None where the method failed."""
        return None if self.found is None else self.found.draw(step if self.steps else None, self.target, SIZE)

    def drawn_proposals(self) -> Image.Image | None:
        """What the box was chosen from; None where there is nothing."""
        return self.found.draw_proposals(SIZE) if self.found is not None and len(self.found.proposals) else None

    def drawn_heat_map(self) -> Image.Image | None:
        """The heat map; None where there is none."""
        return self.found.draw_heat_map(SIZE) if self.found is not None and "heat_map" in self.found.details else None


def drawn_scene(number: int) -> Picture:
    """A drawn scene, and what its sentences mean.

    Args:
        number: of the scene in :data:`SCENES`.

    Raises:
        VGGymError: there is no such scene.
    """
    if not 0 <= number < SCENES.scenes:
        raise VGGymError(f"no scene {number}: they are numbered from 0 to {SCENES.scenes - 1}")
    samples = SCENES[number * len(KINDS) : (number + 1) * len(KINDS)]
    image = samples[0].query.image
    return Picture(ArrayImage(image.array(), image.key), {s.query.expression: s.box for s in samples})


def own_picture(path: str | Path) -> Picture:
    """A picture that a person gives.

    Raises:
        VGGymError: the file is no picture, or is damaged; named without the folder, which is the server's.
    """
    try:
        return Picture(picture(path))
    except VGGymError as error:
        raise VGGymError(str(error).replace(str(path), Path(path).name)) from error


def answered(shown: Picture | None, expression: str, method: str, clip: str | None = None) -> Answer:
    """Ask a method; whatever goes wrong is a message.

    Args:
        shown: the picture.
        expression: what is meant.
        method: name of a grounder.
        clip: for methods that take one; default: as of :func:`vg_gym.ground`.
    """
    if shown is None:
        return Answer(None, "There is no picture yet: upload one, or take a drawn scene.")
    first = method not in _asked
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            found: Found = ground(shown.image.array(), expression, method, clip)
    except VGGymError as error:
        return Answer(None, str(error))
    except Exception as error:  # a method may fail in any way; the page goes on
        traceback.print_exc()
        return Answer(None, f"{method} failed: {type(error).__name__}: {error}")
    _asked.add(method)
    told = [str(warning.message) for warning in caught if PACKAGE in Path(warning.filename).parents]
    target = shown.targets.get(expression.strip())
    message = " ".join(filter(None, [str(found.details.get("failure", "")), *told]))
    return Answer(found, message, _numbers(found, target, first), target)


_asked: set[str] = set()
"""Methods that have answered before in this process, and have loaded all that they load."""


def _numbers(found: Found, target: np.ndarray | None, first: bool) -> dict[str, str]:
    """What is known of an answer, by name, as text."""
    details = found.details
    iou = None if target is None else float(box_ops.iou(found.box, target))
    loaded = ", with what its first answer loads" if first else ""
    numbers = {
        "box": " ".join(f"{side:.1f}" for side in found.box) + " px",
        "score": None if found.score is None else f"{found.score:.3f}",
        "IoU with the truth": None if iou is None else f"{iou:.2f}",
        "steps": str(len(found.trajectory) - 1) if "trajectory" in details else None,
        "proposals": str(len(found.proposals)) if "proposals" in details else None,
        "CLIP scores computed": f"{details['evaluations']:,}" if "evaluations" in details else None,
        "CLIP": found.clip or None,
        "it wrote": str(details["answer"]) if "answer" in details else None,
        "weights": str(details["source"]) if "source" in details else None,
        "time": _duration(found.seconds) + loaded,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
