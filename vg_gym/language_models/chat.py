"""Conversion of any data set to prompts and answers for language-model policies."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.errors import VGGymError
from vg_gym.frames import FRAMES, frame_called, say
from vg_gym.types import GroundingDataset, Sample

PROMPT = "Locate {expression} in the image. Answer with its box alone, as {form}, in {unit}."
"""Default prompt."""
FORMS = {
    "loc": "<loc_x1><loc_y1><loc_x2><loc_y2>",
    "loc1024": "<locy1><locx1><locy2><locx2>",
    "0-1000-yx": "[y1, x1, y2, x2]",
}
"""Format of a box in frames with location tokens or with y first; other frames use ``[x1, y1, x2, y2]``."""
FIELDS = {"expression", "form", "unit"}
"""Names of the fields that a prompt may have in braces; all other braces are literal."""


@dataclass
class ChatDataset(Sequence[dict[str, Any]]):
    """Sequence of rows, one for each expression, with the prompt, the answer and the columns that rewards read.

    A row has ``prompt`` (messages), ``image`` (Pillow), ``solution`` (the box as a text), ``box`` and ``size``
    (pixels), ``expression``, ``frame``, ``key``, and ``initial_box`` (pixels), which is the whole image.

    Images are decoded when their row is read. TRL takes ``datasets.Dataset.from_generator(lambda: iter(rows))``, and a
    torch ``DataLoader`` takes the rows directly.
    """

    samples: GroundingDataset | Sequence[Sample]
    """Data set or samples."""
    frame: str = "0-1000"
    """Frame of the boxes in the answers, a key of :data:`vg_gym.frames.FRAMES`. ``resized`` is not supported,
    because its numbers depend on the model's processor."""
    prompt: str = PROMPT
    """Prompt with ``{expression}`` and optionally ``{form}`` and ``{unit}``; other braces, as in JSON, stay."""
    limit: int | None = None
    """Number of samples to use, from the start; None: all."""

    def __post_init__(self):
        frame_called(self.frame)
        if "{expression}" not in self.prompt:
            raise VGGymError(f"prompt {self.prompt!r} has no {{expression}} where the expression goes")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.samples) if self.limit is None else min(self.limit, len(self.samples))

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or the rows of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sample = self.samples[range(len(self))[index]]
        query = sample.query
        form = FORMS.get(self.frame, "[x1, y1, x2, y2]")
        question = fill(self.prompt, expression=query.expression, form=form, unit=FRAMES[self.frame].summary)
        return {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
            "image": Image.fromarray(query.image.array()),
            "solution": say(sample.box, self.frame, query.image.size),
            "box": np.asarray(sample.box).tolist(),
            "size": list(query.image.size),
            "expression": query.expression,
            "frame": self.frame,
            "key": query.key,
            "initial_box": [0.0, 0.0, *map(float, query.image.size)],
        }


def fill(prompt: str, **values: str) -> str:
    """Fill the fields of a prompt; other braces are literal, and may be doubled as in Python's format strings.

    >>> fill('Where is {expression}? {"bbox_2d": [x1, y1, x2, y2]}', expression="it", form="", unit="")
    'Where is it? {"bbox_2d": [x1, y1, x2, y2]}'
    >>> fill('Where is {expression}? {{"bbox_2d": {form}}}', expression="it", form="[x1, y1, x2, y2]", unit="")
    'Where is it? {"bbox_2d": [x1, y1, x2, y2]}'
    """
    if _is_format(prompt):
        return prompt.format(**values)
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), prompt)


def _is_format(prompt: str) -> bool:
    """Return True if a prompt is a valid Python format string with known fields only."""
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError:
        return False
    return all(name is None or (name in FIELDS and not spec and not how) for _, name, spec, how in parts)


def to_chat_dataset(samples: GroundingDataset | Sequence[Sample], frame: str = "0-1000", **options: Any) -> ChatDataset:
    """Convert a data set to prompts and answers.

    Args:
        samples: data set or samples.
        frame: frame of the boxes in the answers.
        **options: other options of :class:`ChatDataset`.

    Raises:
        VGGymError: the frame is unknown, or the prompt lacks ``{expression}``.

    >>> from vg_gym import registry
    >>> rows = to_chat_dataset(registry.open_dataset("refshapes", "val", scenes=1), "0-1000")
    >>> rows[0]["expression"], rows[0]["solution"]
    ('the striped purple diamond', '[151, 502, 309, 644]')
    """
    return ChatDataset(samples, frame, **options)
