"""Families of vision-language models: frame of boxes, prompt, and use of a chat template.

Prompts and frames are those that the authors use for RefCOCO or in their documentation, named in ``source``. Both are
options, because results depend on them: for one Qwen2.5-VL checkpoint 15 % and 82 % were reported on the same data
(https://github.com/om-ai-lab/VLM-R1/issues/6).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vg_gym.errors import VGGymError


@dataclass(frozen=True)
class Family:
    """Prompt, frame and licence of a family of models."""

    title: str
    """Name of the models."""
    frame: str
    """Frame of boxes or points, a key of :data:`vg_gym.frames.FRAMES`."""
    prompt: str
    """Prompt with ``{}`` for the expression."""
    chat: bool = True
    """True if the prompt goes into the checkpoint's chat template, False if it is the whole text."""
    system: str = ""
    """System message of the chat template; empty: none, or the template's own."""
    points: bool = False
    """True if the models answer with points (:mod:`vg_gym.language_models.point_text`), which are not boxes."""
    loads: bool = True
    """False if the models need code that comes with their weights, which is not run; their answers can be evaluated
    as a file (``--predictions``)."""
    licence: str = ""
    """Licence of the published weights."""
    source: str = ""
    """Source of frame and prompt."""


_QWEN = "Locate {} in this image and output the bbox coordinates in JSON format."
"""Prompt of Qwen's authors for Qwen2.5-VL on RefCOCO: https://github.com/QwenLM/Qwen3-VL/issues/991."""

QWEN3 = Family(
    "Qwen3-VL",
    "0-1000",
    'Locate every object that matches the description "{}" in the image. Report bbox coordinates in JSON format.',
    licence="Apache-2.0",
    source="https://github.com/QwenLM/Qwen3-VL/issues/1721",
)
"""Family of Qwen3-VL: the prompt of its authors for RefCOCO, and boxes in thousandths."""
QWEN3_5 = Family(
    "Qwen3.5",
    QWEN3.frame,
    QWEN3.prompt,
    licence="Apache-2.0",
    source="frame: https://github.com/QwenLM/Qwen3.8-Flash-Next/issues/4; prompt of Qwen3-VL",
)
"""Family of Qwen3.5."""
GLM_V = Family(
    "GLM-4.1V, GLM-4.5V, GLM-4.6V",
    "0-1000",
    "Please pinpoint the bounding box [[x1,y1,x2,y2], …] in the image as per the given description. {}",
    licence="MIT",
    source="https://github.com/zai-org/GLM-V, README, Grounding",
)
"""Family of GLM-V, which marks boxes as ``<|begin_of_box|>[[x1,y1,x2,y2]]<|end_of_box|>``."""
REX_OMNI = Family(
    "Rex-Omni",
    "rex",
    "Detect {}. Output the bounding box coordinates in [x0, y0, x1, y1] format.",
    system="You are a helpful assistant",
    licence="IDEA License 1.0; its Qwen2.5-VL-3B: Qwen Research License",
    source="https://github.com/IDEA-Research/Rex-Omni, evaluation of RefCOCOg",
)
"""Family of Rex-Omni, a Qwen2.5-VL whose vocabulary has tokens of coordinates."""
MOONDREAM = Family(
    "Moondream 2 and 3",
    "normalised",
    "{}",
    loads=False,
    licence="Apache-2.0 (2), Business Source License 1.1 (3)",
    source="https://github.com/vikhyat/moondream, clients/python/README.md: detect(image, object)",
)
"""Family of Moondream, whose ``detect`` returns ``{"objects": [{"x_min": .., "y_min": .., "x_max": .., ...}]}``."""

FAMILIES: dict[str, Family] = {
    "qwen2_vl": Family(
        "Qwen2-VL",
        "0-1000",
        _QWEN,
        licence="Apache-2.0; 72B: Qwen License",
        source="https://github.com/QwenLM/Qwen3-VL/issues/536",
    ),
    "qwen2_5_vl": Family(
        "Qwen2.5-VL",
        "resized",
        _QWEN,
        licence="Apache-2.0; 3B: Qwen Research License; 72B: Qwen License",
        source="https://github.com/QwenLM/Qwen3-VL/issues/991",
    ),
    "qwen3_vl": QWEN3,
    "qwen3_vl_moe": QWEN3,
    "qwen3_5": QWEN3_5,
    "qwen3_5_moe": QWEN3_5,
    "glm4v": GLM_V,
    "glm4v_moe": GLM_V,
    "glm46v": GLM_V,
    "internvl": Family(
        "InternVL 3 and 3.5",
        "0-1000",
        "Please provide the bounding box coordinate of the region this sentence describes: <ref>{}</ref>",
        licence="Apache-2.0 (3.5)",
        source="https://github.com/OpenGVLab/InternVL, internvl_chat/eval/refcoco/evaluate_grounding.py",
    ),
    "molmo2": Family(
        "Molmo2",
        "0-1000",
        "Point to {}",
        points=True,
        licence="Apache-2.0",
        source="https://huggingface.co/allenai/Molmo2-8B, Multi-Image Point QA",
    ),
    "rex_omni": REX_OMNI,
    "moondream1": MOONDREAM,
    "moondream3": MOONDREAM,
    "paligemma": Family(
        "PaliGemma",
        "loc1024",
        "<image>detect {}",
        chat=False,
        licence="Gemma Terms of Use",
        source="https://github.com/google-research/big_vision, big_vision/configs/proj/paligemma/README.md",
    ),
    "florence2": Family(
        "Florence-2",
        "loc",
        "<CAPTION_TO_PHRASE_GROUNDING>{}",
        chat=False,
        licence="MIT",
        source="transformers' Florence2Processor; <OPEN_VOCABULARY_DETECTION>{} and "
        "<REFERRING_EXPRESSION_SEGMENTATION>{} are its other tasks that find what is named",
    ),
}
"""Families by ``model_type`` of transformers; ``rex_omni`` is recognised by its vocabulary (:func:`family_of`)."""
REX_TOKENS = ("<0>", "<999>")
"""First and last token of coordinates in the vocabulary of Rex-Omni."""


def family_of(model_type: str, vocabulary: Collection[str]) -> Family | None:
    """Return the family of a model; None if it is unknown.

    Args:
        model_type: ``model_type`` of the config.
        vocabulary: tokens of the tokenizer. With tokens of coordinates a ``qwen2_5_vl`` is Rex-Omni.

    >>> family_of("qwen2_5_vl", {"<0>", "<999>"}).title, family_of("qwen2_5_vl", ()).title
    ('Rex-Omni', 'Qwen2.5-VL')
    """
    is_rex = model_type == "qwen2_5_vl" and all(token in vocabulary for token in REX_TOKENS)
    return FAMILIES.get("rex_omni" if is_rex else model_type)


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
