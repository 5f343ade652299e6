"""A tiny random vision-language model that calls tools, with a tokenizer made on the spot, and its supervised warm-up.

The model has the architecture of Qwen3-VL, and a chat template that TRL can parse. Phrases that all conversations share
are single tokens, so that a call takes a dozen tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vg_gym.data.worlds.refshapes.expressions import vocabulary
from vg_gym.language_models.grounding_tools import GroundingTools

SPECIAL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|pad|>",
)
TEMPLATE = """{% for m in messages %}<|im_start|>{{ m.role }}
{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content or [] %}\
{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}\
{% endfor %}{% endif %}\
{% for call in m.tool_calls or [] %}<tool_call>{"name": "{{ call.function.name }}", \
"arguments": {{ call.function.arguments | tojson }}}</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Chat template; descriptions of the tools are left out, since a tiny model cannot read them."""
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "<|im_end|>", "content": "text"},
    },
}
"""Grammar of the answers, in transformers' format (``response_template``)."""
GRID = 50
"""Step of the coordinates in the warm-up, in thousandths; each multiple is a token."""
PHRASES = (
    "assistant\n", "user\n", "tool\n", "Fit the yellow box to:", "It is at [", ", ", "]", ", step ", " of ", ".",
    " (thousandths of the image's sides (Qwen2-VL, Qwen3-VL, InternVL))", " The episode is over.", " ",
    '<tool_call>{"name": "place", "arguments": {"box": [', "]}}</tool_call>",
    '<tool_call>{"name": "stop", "arguments": {}}</tool_call>',
)  # fmt: skip
"""Phrases of the conversations that are one token each."""
SIDE, PATCH, WIDTH, LAYERS = 64, 8, 64, 2
"""Side of the pictures and of their patches in pixels, width of the model, and number of its layers."""
IGNORED = -100
"""Label of tokens that the loss ignores."""


def make(asks: Sequence[str] = (), seed: int = 0) -> tuple[Any, Any]:
    """Return a random model and its processor.

    Args:
        asks: more phrases that are one token each, e.g. the sentences on the tools.
        seed: seed of the weights.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer([*PHRASES, *asks])
    tokenizer.response_template = RESPONSE
    image, video, start, end = tokenizer.convert_tokens_to_ids([SPECIAL[4], SPECIAL[5], SPECIAL[2], SPECIAL[3]])
    text = dict(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=4, num_key_value_heads=4, head_dim=WIDTH // 4, max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "mrope_section": [3, 3, 2], "rope_theta": 10000.0},
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, tie_word_embeddings=True,
    )  # fmt: skip
    vision = dict(
        depth=2, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_heads=4, out_hidden_size=WIDTH, patch_size=PATCH,
        num_position_embeddings=(SIDE // PATCH) ** 2, deepstack_visual_indexes=[0], temporal_patch_size=1,
    )  # fmt: skip
    config = t.Qwen3VLConfig(
        text_config=text, vision_config=vision, image_token_id=image, video_token_id=video, vision_start_token_id=start,
        vision_end_token_id=end, tie_word_embeddings=True,
    )  # fmt: skip
    limits = {"shortest_edge": SIDE**2, "longest_edge": SIDE**2}
    images = t.Qwen2VLImageProcessor(patch_size=PATCH, temporal_patch_size=1, size=limits)
    processor = t.Qwen3VLProcessor(images, tokenizer, t.Qwen3VLVideoProcessor(patch_size=PATCH), TEMPLATE)
    model = t.Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, processor


def _tokenizer(phrases: Sequence[str]) -> Any:
    """Return a tokenizer with a token for every byte, special word, phrase, word of RefShapes and coordinate."""
    core = Tokenizer(
        models.BPE(vocab={b: i for i, b in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[])
    )
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens(list(SPECIAL))
    words = [f" {word}" for word in vocabulary()]
    core.add_tokens(list(dict.fromkeys([*phrases, *words, *(str(n) for n in range(0, 1001, GRID))])))
    sides = {"padding_side": "left"}  # TRL pads prompts on the left, and image types must stand beside their tokens
    return t.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|pad|>", **sides)


def conversation(env: GroundingTools, box: np.ndarray, index: int, wrong: np.ndarray | None = None) -> list[dict]:
    """Play an episode with true or wrong answers and return its messages.

    Args:
        env: the environment.
        box: true box in thousandths (4,).
        index: number of the episode.
        wrong: a wrong box in thousandths (4,), which is placed first and not learned.
    """
    messages = [{"role": "user", "content": env.reset(index=index)}]
    turns = [] if wrong is None else [("place", wrong, False)]
    for name, numbers, learned in [*turns, ("place", box, True), ("stop", None, True)]:
        arguments = {} if numbers is None else {"box": (np.round(numbers / GRID) * GRID).astype(int).tolist()}
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        messages += [{"role": "assistant", "content": [], "tool_calls": [call], "learned": learned}]
        messages += [{"role": "tool", "name": name, "content": getattr(env, name)(**arguments)}]
    return [*messages, {"role": "assistant", "content": [], "learned": True}]


def batch_of(processor: Any, conversations: Sequence[list[dict]]) -> dict[str, torch.Tensor]:
    """Return the inputs of conversations; the labels are the answers that are to be learned."""
    texts = [processor.apply_chat_template(one, tokenize=False) for one in conversations]
    images = [[c["image"] for m in one for c in m["content"] or [] if c["type"] == "image"] for one in conversations]
    inputs = processor(images=images, text=texts, padding=True, padding_side="right", return_tensors="pt")
    ids, tokenizer = inputs["input_ids"], processor.tokenizer
    labels = torch.full_like(ids, IGNORED)
    answer, end = tokenizer.convert_tokens_to_ids(["assistant\n", "<|im_end|>"])
    for row, one in enumerate(conversations):
        learned = [message["learned"] for message in one if message["role"] == "assistant"]
        starts = (ids[row] == answer).nonzero()[:, 0] + 1
        for first, flag in zip(starts.tolist(), learned, strict=True):
            last = first + (ids[row, first:] == end).nonzero()[0, 0] + 1
            if flag:
                labels[row, first:last] = ids[row, first:last]
    return {**inputs, "labels": labels}
