"""Content of the demo's page, without Gradio: pictures, the answer of a method, and its numbers."""

from __future__ import annotations

import math
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from vg_gym import boxes as box_ops
from vg_gym.data.images import ArrayImage
from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.data.worlds.refshapes.expressions import KINDS
from vg_gym.errors import VGGymError
from vg_gym.pictures.found import NOTHING, Found
from vg_gym.pictures.ground import ground
from vg_gym.pictures.sources import picture

SCENES = RefShapes("refshapes", "test")
"""Drawn scenes of the page. They are not in the training data of any built-in weights."""
SIZE = 640
"""Longer side of drawn pictures, in pixels."""
PACKAGE = Path(__file__).parents[1]
"""Folder of the package. The page shows only warnings of modules in it."""


@dataclass(frozen=True)
class Picture:
    """Picture on the page, with its sentences."""

    image: ArrayImage
    """Pixels of the picture."""
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Sentences of a drawn scene -> true boxes (4,) in pixels; empty for other pictures."""

    def shown(self) -> Image.Image:
        """Return the picture, resized so that its longer side has :data:`SIZE` pixels."""
        width, height = self.image.size
        factor = SIZE / max(width, height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        return Image.fromarray(self.image.array()).resize(size, Image.Resampling.BICUBIC)


@dataclass(frozen=True)
class Answer:
    """Answer of a method to a picture and a sentence, or the reason for its failure."""

    found: Found | None
    """Result of the method; None after a failure."""
    message: str
    """Error or warnings of the method; empty without any."""
    numbers: Mapping[str, str] = field(default_factory=dict)
    """Name -> text of each number of the answer."""
    target: np.ndarray | None = None
    """True box (4,) in pixels, if the sentence belongs to a drawn scene."""

    @property
    def steps(self) -> int:
        """Number of steps of an agent; 0 for other methods."""
        return 0 if self.found is None else max(0, len(self.found.trajectory) - 1)

    def drawn(self, step: int | None = None) -> Image.Image | None:
        """Draw the boxes, or the agent's box after ``step`` steps; None after a failure."""
        return None if self.found is None else self.found.draw(step if self.steps else None, self.target, SIZE)

    def drawn_proposals(self) -> Image.Image | None:
        """Draw the proposals; None for a method without proposals."""
        return self.found.draw_proposals(SIZE) if self.found is not None and len(self.found.proposals) else None

    def drawn_heat_map(self) -> Image.Image | None:
        """Draw the heat map; None for a method without one."""
        return self.found.draw_heat_map(SIZE) if self.found is not None and "heat_map" in self.found.details else None


def drawn_scene(number: int) -> Picture:
    """Return a drawn scene with its sentences and their true boxes.

    Args:
        number: number of the scene in :data:`SCENES`.

    Raises:
        VGGymError: the number is out of range.
    """
    if not 0 <= number < SCENES.scenes:
        raise VGGymError(f"no scene {number}: they are numbered from 0 to {SCENES.scenes - 1}")
    samples = SCENES[number * len(KINDS) : (number + 1) * len(KINDS)]
    image = samples[0].query.image
    return Picture(ArrayImage(image.array(), image.key), {s.query.expression: s.box for s in samples})


def own_picture(path: str | Path) -> Picture:
    """Read a picture that a visitor uploads.

    Raises:
        VGGymError: the file is damaged or not a picture. The message leaves out the folder on the server.
    """
    try:
        return Picture(picture(path))
    except VGGymError as error:
        raise VGGymError(str(error).replace(str(path), Path(path).name)) from error


def typed_score(text: str) -> float | None:
    """Return the score that was typed into a field; None for an empty one.

    Raises:
        VGGymError: the text is not a finite number.
    """
    if not text.strip():
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise VGGymError(f"{text.strip()!r} is not a score: type a number, as 0.5, or leave the field empty")
    return score


def answered(
    picture: Picture | None, expression: str, method: str, clip: str | None = None, nothing_below: float | None = None
) -> Answer:
    """Run a method; any error becomes the message of the answer.

    Args:
        picture: picture on the page.
        expression: referring expression.
        method: name of a grounder.
        clip: name of the CLIP, for methods that use one; default: see :func:`vg_gym.ground`.
        nothing_below: score below which nothing fits; None: the method alone decides.
    """
    if picture is None:
        return Answer(None, "There is no picture yet: upload one, or take a drawn scene.")
    first = method not in _loaded
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            result: Found = ground(picture.image.array(), expression, method, clip, nothing_below)
    except VGGymError as error:
        return Answer(None, str(error))
    except Exception as error:  # no error of a method may stop the page
        traceback.print_exc()
        return Answer(None, f"{method} failed: {type(error).__name__}: {error}")
    _loaded.add(method)
    warned = [str(warning.message) for warning in caught if PACKAGE in Path(warning.filename).parents]
    target = picture.targets.get(expression.strip())
    message = " ".join(filter(None, [str(result.details.get("failure", "")), *warned]))
    return Answer(result, message, _numbers(result, target, first), target)


_loaded: set[str] = set()
"""Methods that have answered before in this process, so that their weights are loaded."""


def _numbers(result: Found, target: np.ndarray | None, first: bool) -> dict[str, str]:
    """Return the numbers of an answer as text, by name."""
    details = result.details
    iou = None if target is None or result.box is None else float(box_ops.iou(result.box, target))
    loaded = ", with what its first answer loads" if first else ""
    numbers = {
        "box" if len(result.boxes) < 2 else "boxes": _boxes(result.boxes) if result.point is None else None,
        "point": None if result.point is None else f"{result.point[0]:.1f} {result.point[1]:.1f} px",
        "score": None if result.score is None else f"{result.score:.3f}",
        "IoU with the truth": None if iou is None else f"{iou:.2f}",
        "steps": str(len(result.trajectory) - 1) if "trajectory" in details else None,
        "proposals": str(len(result.proposals)) if "proposals" in details else None,
        "CLIP scores computed": f"{details['evaluations']:,}" if "evaluations" in details else None,
        "CLIP": result.clip or None,
        "it wrote": str(details["answer"]) if "answer" in details else None,
        "weights": str(details["source"]) if "source" in details else None,
        "time": _duration(result.seconds) + loaded,
    }
    return {name: value for name, value in numbers.items() if value is not None}


def _boxes(boxes: np.ndarray) -> str:
    """Return boxes (m, 4) in pixels as text."""
    return "; ".join(" ".join(f"{side:.1f}" for side in box) for box in boxes) + " px" if len(boxes) else NOTHING


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
