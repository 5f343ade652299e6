"""Tiny random models of GLM-V, Qwen3.5, Molmo2 and SAM 3, in the file layouts of the published models."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as t

from experiments.tiny_parts import CHAT, QWEN, TEXT, byte_tokenizer, ids, save

GLM = (
    "<|endoftext|>", "<|begin_of_image|>", "<|end_of_image|>", "<|image|>", "<|begin_of_video|>", "<|end_of_video|>",
    "<|video|>", "<|begin_of_box|>", "<|end_of_box|>",
)  # fmt: skip
"""Special tokens of GLM-V."""
MOLMO = (
    "<|im_start|>", "<|im_end|>", "<|image|>", "<|video|>", "<im_patch>", "<im_col>", "<im_start>",
    "<low_res_im_start>", "<frame_start>", "<im_end>", "<frame_end>", "<im_low>",
)  # fmt: skip
"""Special tokens of Molmo2."""
ROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0, "partial_rotary_factor": 1.0}
SIGHT = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=TEXT["hidden_size"])
"""Sizes of a vision encoder."""
THINKING = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
"""End of a chat template that has a switch for reasoning."""


def glm_v(folder: Path, kind: str = "glm4v_moe") -> str:
    """Write a GLM-4.5V (``glm4v_moe``) or a GLM-4.6V-Flash (``glm46v``)."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*GLM, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    names = ("image_start", "image_end", "image", "video_start", "video_end", "video")
    tokens = {f"{name}_token_id": number for name, number in zip(names, ids(tokenizer, *GLM[1:7]), strict=True)}
    ends = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    text = dict(vocab_size=len(tokenizer), rope_parameters=ROPE, **ends, **TEXT)
    size = {"shortest_edge": 56**2, "longest_edge": 112**2}
    if kind == "glm4v_moe":
        text |= dict(head_dim=16, moe_intermediate_size=16, n_routed_experts=2, num_experts_per_tok=1)
        config, model = t.Glm4vMoeConfig, t.Glm4vMoeForConditionalGeneration
        parts = t.Glm4vImageProcessor(patch_size=14, size=size), tokenizer, t.Glm4vVideoProcessor(patch_size=14)
        processor = t.Glm4vProcessor
    else:
        config, model = t.Glm46VConfig, t.Glm46VForConditionalGeneration
        parts = t.Glm46VImageProcessor(patch_size=14, size=size), tokenizer, t.Glm46VVideoProcessor(patch_size=14)
        processor = t.Glm46VProcessor
    vision = {**SIGHT, "patch_size": 14, "image_size": 56}
    image = "<|begin_of_image|><|image|><|end_of_image|>"
    chat = CHAT.replace("IMAGE", image).replace("<|im_start|>", "<|").replace("<|im_end|>", "|>") + THINKING
    network = model(config(text_config=text, vision_config=vision, **tokens))
    return save(folder, network, processor(*parts, chat_template=chat))


def qwen3_5(folder: Path) -> str:
    """Write a Qwen3.5 with one layer of full attention."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*QWEN, eos_token="<|im_end|>", pad_token="<|im_end|>")
    names = ("vision_start", "vision_end", "image", "video")
    tokens = {f"{name}_token_id": number for name, number in zip(names, ids(tokenizer, *QWEN[2:]), strict=True)}
    ends = dict(eos_token_id=tokenizer.eos_token_id, layer_types=["full_attention"], head_dim=16)
    text = dict(vocab_size=len(tokenizer), rope_parameters=ROPE, **ends, **TEXT)
    vision = {**SIGHT, "patch_size": 16, "num_position_embeddings": 64}
    config = t.Qwen3_5Config(text_config=text, vision_config=vision, **tokens)
    images = t.Qwen2VLImageProcessor(patch_size=16, size={"shortest_edge": 32**2, "longest_edge": 128**2})
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>") + THINKING
    processor = t.Qwen3VLProcessor(images, tokenizer, t.Qwen3VLVideoProcessor(patch_size=16), chat_template=chat)
    return save(folder, t.Qwen3_5ForConditionalGeneration(config), processor)


def molmo2(folder: Path) -> str:
    """Write a Molmo2."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer(*MOLMO, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokens = {
        "image_patch_id": "<im_patch>", "image_start_token_id": "<im_start>", "image_end_token_id": "<im_end>",
        "low_res_image_start_token_id": "<low_res_im_start>", "frame_start_token_id": "<frame_start>",
        "frame_end_token_id": "<frame_end>",
    }  # fmt: skip
    heads = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2, num_key_value_heads=2, head_dim=16)
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    text = {**TEXT, "vocab_size": len(tokenizer), "additional_vocab_size": 0, "head_dim": 16, "rope_parameters": rope}
    config = t.Molmo2Config(
        text_config={**text, "eos_token_id": tokenizer.eos_token_id},
        vision_config=dict(
            num_hidden_layers=1, image_size=[56, 56], patch_size=14, num_position_embeddings=16, **heads
        ),
        adapter_config=dict(vision_feature_layer=[-1], text_hidden_size=TEXT["hidden_size"], **heads),
        **{name: ids(tokenizer, word)[0] for name, word in tokens.items()},
    )
    square = dict(size={"height": 56, "width": 56}, patch_size=14)
    images, videos = (
        t.Molmo2ImageProcessor(max_crops=2, overlap_margins=[1, 1], **square),
        t.Molmo2VideoProcessor(**square),
    )
    processor = t.Molmo2Processor(images, videos, tokenizer, chat_template=CHAT.replace("IMAGE", "<|image|>"))
    return save(folder, t.Molmo2ForConditionalGeneration(config), processor)


def sam3(folder: Path) -> str:
    """Write a SAM 3 for images of 112 pixels."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<|start|>", "<|end|>", "!", pad_token="!", bos_token="<|start|>", eos_token="<|end|>")
    sizes = dict(hidden_size=32, intermediate_size=32, num_attention_heads=2)
    ends = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=2)
    vit = dict(
        model_type="sam3_vit_model", num_hidden_layers=1, image_size=112, patch_size=14, window_size=4,
        global_attn_indexes=[0], pretrain_image_size=56, **sizes,
    )  # fmt: skip
    config = t.Sam3Config(
        vision_config=dict(
            backbone_config=vit, fpn_hidden_size=32, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
        ),
        text_config=dict(
            model_type="clip_text_model", vocab_size=len(tokenizer), num_hidden_layers=1, projection_dim=32,
            max_position_embeddings=32, **ends, **sizes,
        ),
        geometry_encoder_config=dict(num_layers=1, **sizes),
        detr_encoder_config=dict(num_layers=1, **sizes),
        detr_decoder_config=dict(num_layers=1, num_queries=20, **sizes),
        mask_decoder_config=dict(hidden_size=32, num_attention_heads=2),
    )  # fmt: skip
    images = t.Sam3ImageProcessor(size={"height": 112, "width": 112}, mask_size={"height": 32, "width": 32})
    return save(folder, t.Sam3Model(config), t.Sam3Processor(images, tokenizer))
