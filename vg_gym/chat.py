"""Any data set as prompts and answers for language-model policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vg_gym.answers.frames import FRAMES, frame_called, say
from vg_gym.types import GroundingDataset, Sample

PROMPT = "Locate {expression} in the image. Answer with its box alone, as {form}, in {unit}."
"""What is asked by default."""
FORMS = {"loc": "<loc_x1><loc_y1><loc_x2><loc_y2>", "loc1024": "<locy1><locx1><locy2><locx2>"}
"""How a box is written in frames of places; in others as four numbers in brackets."""


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
    """With ``{expression}``, and where it likes ``{form}`` and ``{unit}``."""
    limit: int | None = None
    """Only the first so many samples."""

    def __post_init__(self):
        frame_called(self.frame)

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
        asked = self.prompt.format(expression=query.expression, form=form, unit=FRAMES[self.frame].summary)
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


def to_chat_dataset(samples: GroundingDataset | Sequence[Sample], frame: str = "0-1000", **options: Any) -> ChatDataset:
    """Prompts and answers of a data set.

    Args:
        samples: a data set, or samples.
        frame: in which boxes are to be said.
        **options: others of :class:`ChatDataset`.

    Raises:
        VGGymError: the frame is unknown.

    >>> from vg_gym import registry
    >>> rows = to_chat_dataset(registry.open_dataset("refshapes", "val", scenes=1), "0-1000")
    >>> rows[0]["expression"], rows[0]["solution"]
    ('the striped purple diamond', '[151, 502, 309, 644]')
    """
    return ChatDataset(samples, frame, **options)
