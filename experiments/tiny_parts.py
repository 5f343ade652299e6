"""Parts of tiny random models: tokenizers made on the spot, sizes, a chat template, and a way to save."""

from __future__ import annotations

from pathlib import Path

import transformers as t
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def byte_tokenizer(*special: str, extra: tuple[str, ...] = (), named: dict[str, str] | None = None, **more):
    """Return a tokenizer with a token for every byte and every special word."""
    words = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens(list(special))
    core.add_tokens(list(extra))
    return t.PreTrainedTokenizerFast(tokenizer_object=core, extra_special_tokens=named or {}, **more)


def ids(tokenizer, *words: str) -> list[int]:
    return [tokenizer.convert_tokens_to_ids(word) for word in words]


def save(folder: Path, model, processor) -> str:
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def word_tokenizer(tmp: Path):
    """Return a BERT tokenizer over letters."""
    letters = "abcdefghijklmnopqrstuvwxyz."
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{x}" for x in letters)]
    tmp.mkdir(parents=True, exist_ok=True)
    (tmp / "vocab.txt").write_text("\n".join(vocabulary))
    return t.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}, model_max_length=256)


TEXT = dict(
    hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2,
    max_position_embeddings=2048,
)  # fmt: skip
"""Sizes of a language model."""
