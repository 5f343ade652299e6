"""Families of vision-language models: frame of boxes, prompt, and use of a chat template.

Prompts and frames are those that the authors use for RefCOCO or in their examples. Both are options, because results
depend on them: for one Qwen2.5-VL checkpoint 15 % and 82 % were reported on the same data
(https://github.com/om-ai-lab/VLM-R1/issues/6).
"""

from __future__ import annotations

from dataclasses import dataclass

from vg_gym.errors import VGGymError


@dataclass(frozen=True)
class Family:
    """Prompt and frame of a family of models."""

    frame: str
    """Frame of boxes, a key of :data:`vg_gym.frames.FRAMES`."""
    prompt: str
    """Prompt with ``{}`` for the expression."""
    chat: bool = True
    """True if the prompt goes into the checkpoint's chat template, False if it is the whole text."""
    source: str = ""
    """Source of frame and prompt."""


_QWEN = "Locate {} in this image and output the bbox coordinates in JSON format."
"""Prompt of Qwen's authors for Qwen2.5-VL on RefCOCO: https://github.com/QwenLM/Qwen3-VL/issues/991."""

QWEN3 = Family(
    "0-1000",
    'Locate every object that matches the description "{}" in the image. Report bbox coordinates in JSON format.',
    source="https://github.com/QwenLM/Qwen3-VL/issues/1721",
)
"""Family of Qwen3-VL: the prompt of its authors for RefCOCO, and boxes in thousandths."""

FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family("0-1000", _QWEN, source="https://github.com/QwenLM/Qwen3-VL/issues/536"),
    "qwen2_5_vl": Family("resized", _QWEN, source="https://github.com/QwenLM/Qwen3-VL/issues/991"),
    "qwen3_vl": QWEN3,
    "qwen3_vl_moe": QWEN3,
    "qwen3_5": QWEN3,
    "qwen3_5_moe": QWEN3,
    "internvl": Family(
        "0-1000",
        "Please provide the bounding box coordinate of the region this sentence describes: <ref>{}</ref>",
        source="https://github.com/OpenGVLab/InternVL, internvl_chat/eval/refcoco/evaluate_grounding.py",
    ),
    "paligemma": Family(
        "loc1024",
        "<image>detect {}",
        chat=False,
        source="https://github.com/google-research/big_vision, big_vision/configs/proj/paligemma/README.md",
    ),
    "florence2": Family(
        "loc",
        "<CAPTION_TO_PHRASE_GROUNDING>{}",
        chat=False,
        source="transformers' Florence2Processor; <OPEN_VOCABULARY_DETECTION>{} and "
        "<REFERRING_EXPRESSION_SEGMENTATION>{} are its other tasks that find what is named",
    ),
}
"""Families by ``model_type`` of transformers."""


def checked_prompt(prompt: str) -> str:
    """Return a prompt after checking that it has a place for the expression.

    Raises:
        VGGymError: the prompt lacks ``{}``.

    >>> checked_prompt("the {}")
    'the {}'
    """
    if "{}" not in prompt:
        raise VGGymError(f"prompt {prompt!r} has no {{}} where the expression goes")
    return prompt
