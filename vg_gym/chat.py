"""Any data set as prompts and answers for language-model policies."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.answers.frames import FRAMES, frame_called, say
from vg_gym.errors import VGGymError
from vg_gym.types import GroundingDataset, Sample

PROMPT = "Locate {expression} in the image. Answer with its box alone, as {form}, in {unit}."
"""What is asked by default."""
FORMS = {
    "loc": "<loc_x1><loc_y1><loc_x2><loc_y2>",
    "loc1024": "<locy1><locx1><locy2><locx2>",
    "0-1000-yx": "[y1, x1, y2, x2]",
}
"""How a box is written in frames of places and with y first; in others as ``[x1, y1, x2, y2]``."""
FIELDS = {"expression", "form", "unit"}
"""What a prompt may have in braces; all other braces are literal."""


@dataclass
class ChatDataset(Sequence[dict[str, Any]]):
    """One row for each expression: what is asked, and what rewards need to know.

    ``prompt`` (messages), ``image`` (Pillow), ``solution`` (the box as it is to be said), ``box`` and ``size``
    (pixels), ``expression``, ``frame``, ``key``, and ``initial_box`` (pixels): the whole image.

    Images are decoded as rows are asked for. For TRL: ``datasets.Dataset.from_generator(lambda: iter(rows))``; a torch
    ``DataLoader`` takes it as it is.
    """

    samples: GroundingDataset | Sequence[Sample]
    """What is asked."""
    frame: str = "0-1000"
    """In which boxes are to be said, a key of :data:`vg_gym.answers.frames.FRAMES`; not ``resized``, whose numbers
    depend on the model's processor."""
    prompt: str = PROMPT
    """With ``{expression}``, and where it likes ``{form}`` and ``{unit}``; other braces, of JSON, are literal."""
    limit: int | None = None
    """Only the first so many samples."""

    def __post_init__(self):
        frame_called(self.frame)
        if "{expression}" not in self.prompt:
            raise VGGymError(f"prompt {self.prompt!r} has no {{expression}} where the expression goes")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.samples) if self.limit is None else min(self.limit, len(self.samples))

    def __getitem__(self, index: Any) -> Any:
        """A row, or the rows of a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        sample = self.samples[range(len(self))[index]]
        query = sample.query
        form = FORMS.get(self.frame, "[x1, y1, x2, y2]")
        asked = fill(self.prompt, expression=query.expression, form=form, unit=FRAMES[self.frame].summary)
        return {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": asked}]}],
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
    """A prompt with the values of its fields; braces that hold anything else stay, and doubled ones may stand for them.

    >>> fill('Where is {expression}? {"bbox_2d": [x1, y1, x2, y2]}', expression="it", form="", unit="")
    'Where is it? {"bbox_2d": [x1, y1, x2, y2]}'
    >>> fill('Where is {expression}? {{"bbox_2d": {form}}}', expression="it", form="[x1, y1, x2, y2]", unit="")
    'Where is it? {"bbox_2d": [x1, y1, x2, y2]}'
    """
    if _is_format(prompt):
        return prompt.format(**values)
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), prompt)


def _is_format(prompt: str) -> bool:
    """Whether Python's own format language reads a prompt, with known fields alone."""
    try:
        parts = list(string.Formatter().parse(prompt))
    except ValueError:
        return False
    return all(name is None or (name in FIELDS and not spec and not how) for _, name, spec, how in parts)


def to_chat_dataset(samples: GroundingDataset | Sequence[Sample], frame: str = "0-1000", **options: Any) -> ChatDataset:
    """Prompts and answers of a data set.

    Args:
        samples: a data set, or samples.
        frame: in which boxes are to be said.
        **options: others of :class:`ChatDataset`.

    Raises:
        VGGymError: the frame is unknown, or the prompt has no ``{expression}``.

    >>> from vg_gym import registry
    >>> rows = to_chat_dataset(registry.open_dataset("refshapes", "val", scenes=1), "0-1000")
    >>> rows[0]["expression"], rows[0]["solution"]
    ('the striped purple diamond', '[151, 502, 309, 644]')
    """
    return ChatDataset(samples, frame, **options)
