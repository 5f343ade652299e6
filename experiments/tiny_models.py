"""Tiny random models of published architectures with new tokenizers, in the file layouts of the published models.

python experiments/tiny_models.py runs/tiny      # needs pip install "vg_gym[foundation]"

The script writes one of each into a folder and prints the command that evaluates them all. Their boxes are meaningless;
the models show that classes, processors and evaluator work together without published weights.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import open_clip
import torch
import transformers as t

sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments.tiny_families import glm_v, molmo2, qwen3_5, sam3  # noqa: E402
from experiments.tiny_parts import CHAT, QWEN, TEXT, byte_tokenizer, ids, save, word_tokenizer  # noqa: E402
from vg_gym.baselines.detectors.yolo import ultralytics_package  # noqa: E402
from vg_gym.cli.run import run  # noqa: E402
from vg_gym.clip.encoder import ClipEncoder  # noqa: E402
from vg_gym.clip.finetuning.model import save_model  # noqa: E402
from vg_gym.clip.tokenizer import WordTokenizer  # noqa: E402
from vg_gym.data.worlds.refshapes.expressions import vocabulary  # noqa: E402


def grounding_dino(folder: Path, mm: bool = False) -> str:
    torch.manual_seed(0)
    tokenizer = word_tokenizer(folder)
    swin = t.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1], window_size=4, out_indices=[2, 3, 4]
    )
    bert = t.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    kind, model = (
        (t.MMGroundingDinoConfig, t.MMGroundingDinoForObjectDetection)
        if mm
        else (t.GroundingDinoConfig, t.GroundingDinoForObjectDetection)
    )
    config = kind(
        backbone_config=swin, text_config=bert, num_queries=20, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, encoder_attention_heads=2, decoder_attention_heads=2,
    )  # fmt: skip
    images = t.GroundingDinoImageProcessor(size={"shortest_edge": 128, "longest_edge": 192})
    return save(folder, model(config), t.GroundingDinoProcessor(images, tokenizer))


def owlv2(folder: Path) -> str:
    torch.manual_seed(0)
    tokenizer = byte_tokenizer("<|start|>", "<|end|>", "!", pad_token="!", bos_token="<|start|>", eos_token="<|end|>")
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    ends = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=2)
    text = dict(vocab_size=len(tokenizer), max_position_embeddings=32, **ends, **sizes)
    vision = dict(image_size=64, patch_size=16, **sizes)
    config = t.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    images = t.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    model = t.Owlv2ForObjectDetection(config)
    for weights in model.box_head.parameters():  # otherwise all boxes degenerate to a line
        weights.data *= 0.1
    return save(folder, model, t.Owlv2Processor(images, tokenizer))


def qwen(folder: Path, generation: str = "qwen2_5_vl", extra: tuple[str, ...] = (), seed: int = 0) -> str:
    torch.manual_seed(seed)
    special = dict(eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer = byte_tokenizer(*QWEN, extra=extra, **special)
    start, end, image, video = ids(tokenizer, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    tokens = dict(
        image_token_id=image, video_token_id=video, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    ends = dict(bos_token_id=None, eos_token_id=tokenizer.eos_token_id)
    text = dict(vocab_size=len(tokenizer), rope_parameters=rope, **TEXT)
    vision = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=TEXT["hidden_size"])
    if generation == "qwen2_5_vl":
        vision |= dict(patch_size=14, window_size=56, fullatt_block_indexes=[0])
        config = t.Qwen2_5_VLConfig(text_config={**text, **ends}, vision_config=vision, **tokens)
        model, kind, patch = t.Qwen2_5_VLForConditionalGeneration, t.Qwen2_5_VLProcessor, 14
    else:
        vision |= dict(patch_size=16, num_position_embeddings=64, deepstack_visual_indexes=[0])
        config = t.Qwen3VLConfig(text_config={**text, "head_dim": 16}, vision_config=vision, **tokens)
        model, kind, patch = t.Qwen3VLForConditionalGeneration, t.Qwen3VLProcessor, 16
    limits = {"shortest_edge": (2 * patch) ** 2, "longest_edge": (8 * patch) ** 2}
    images = t.Qwen2VLImageProcessor(patch_size=patch, size=limits)
    videos = (t.Qwen2VLVideoProcessor if patch == 14 else t.Qwen3VLVideoProcessor)(patch_size=patch)
    chat = CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>")
    return save(folder, model(config), kind(images, tokenizer, videos, chat_template=chat))


def internvl(folder: Path) -> str:
    torch.manual_seed(0)
    named = {
        "start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }  # fmt: skip
    tokenizer = byte_tokenizer(*QWEN[:2], *named.values(), named=named, eos_token="<|im_end|>", pad_token="<|im_end|>")
    (image,) = ids(tokenizer, "<IMG_CONTEXT>")
    vision = dict(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=[56, 56],
        patch_size=[14, 14],
    )  # fmt: skip
    text = t.Qwen2Config(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=None, **TEXT)
    config = t.InternVLConfig(vision_config=vision, text_config=text, image_token_id=image, image_seq_length=4)
    images = t.GotOcr2ImageProcessor(size={"height": 56, "width": 56}, max_patches=2, crop_to_patches=True)
    chat = CHAT.replace("IMAGE", "<IMG_CONTEXT>\n")
    videos = t.InternVLVideoProcessor(size={"height": 56, "width": 56})
    processor = t.InternVLProcessor(images, tokenizer, videos, image_seq_length=4, chat_template=chat)
    return save(folder, t.InternVLForConditionalGeneration(config), processor)


def paligemma(folder: Path) -> str:
    torch.manual_seed(0)
    special = dict(bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")
    tokenizer = byte_tokenizer(*special.values(), **special)
    images = t.SiglipImageProcessor(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    processor = t.PaliGemmaProcessor(images, tokenizer)
    count = len(tokenizer)
    vision = dict(
        model_type="siglip_vision_model", hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, image_size=56, patch_size=14, vision_use_head=False,
    )  # fmt: skip
    text = dict(model_type="gemma", vocab_size=count, head_dim=16, **TEXT)
    config = t.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=processor.image_token_id, vocab_size=count,
        projection_dim=32, hidden_size=32,
    )  # fmt: skip
    return save(folder, t.PaliGemmaForConditionalGeneration(config), processor)


def florence2(folder: Path) -> str:
    torch.manual_seed(0)
    special = dict(bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    places = tuple(f"<loc_{i}>" for i in range(1000))
    named = {"image_token": "<image>"}
    tokenizer = byte_tokenizer(*special.values(), "<image>", extra=places, named=named, **special)
    (image,) = ids(tokenizer, "<image>")
    bos, pad, eos = tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id
    text = t.BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=512,
        bos_token_id=bos, pad_token_id=pad, eos_token_id=eos, decoder_start_token_id=eos, forced_eos_token_id=None,
    )  # fmt: skip
    vision = dict(
        depths=[1, 1, 1, 1], embed_dim=[8, 8, 8, 8], num_heads=[1, 1, 1, 1], num_groups=[1, 1, 1, 1], window_size=4,
        projection_dim=32,
    )  # fmt: skip
    config = t.Florence2Config(text_config=text, vision_config=vision, image_token_id=image)
    images = t.CLIPImageProcessor(size={"height": 64, "width": 64}, do_center_crop=False)
    images.image_seq_length = 5
    reading = {"phrase_grounding": {"banned_grounding_tokens": []}, "description_with_bboxes": {}}
    processor = t.Florence2Processor(images, tokenizer, post_processor_config=reading)
    return save(folder, t.Florence2ForConditionalGeneration(config), processor)


VLMS = {
    "qwen2_5_vl": qwen,
    "qwen3_vl": lambda folder: qwen(folder, "qwen3_vl"),
    "qwen3_5": qwen3_5,
    "glm4v_moe": glm_v,
    "glm46v": lambda folder: glm_v(folder, "glm46v"),
    "internvl": internvl,
    "molmo2": molmo2,
    "rex_omni": lambda folder: qwen(folder, extra=tuple(f"<{i}>" for i in range(1000))),
    "paligemma": paligemma,
    "florence2": florence2,
}
"""Family -> function that writes a tiny model of it into a folder."""
DETECTORS = {
    "grounding-dino": grounding_dino,
    "mm-grounding-dino": lambda folder: grounding_dino(folder, mm=True),
    "llmdet": lambda folder: grounding_dino(folder, mm=True),
    "owlv2": owlv2,
}
"""Name of the grounder -> function that writes a tiny model of it into a folder."""


def yolo_world(file: Path) -> str:
    """Write a random YOLO-World of the smallest size in ultralytics' format."""
    torch.manual_seed(0)
    file.parent.mkdir(parents=True, exist_ok=True)
    ultralytics_package().YOLOWorld("yolov8n-worldv2.yaml").save(str(file))
    return str(file)


def yoloe(file: Path, config: str = "yoloe-11n-seg.yaml") -> str:
    """Write a random YOLOE of the smallest size in ultralytics' format.

    Normalisations are fitted to noise and biases are small, since otherwise boxes do not depend on image and text.
    """
    torch.manual_seed(0)
    file.parent.mkdir(parents=True, exist_ok=True)
    yolo = ultralytics_package().YOLOE(config)
    head = yolo.model.model[-1]
    for module in yolo.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # its statistics become those of this batch
    with torch.no_grad():
        for contrast in head.cv4:
            contrast.bias.zero_()
        for sides in head.cv2:
            sides[-1].bias.copy_(torch.linspace(4, -4, head.reg_max).repeat(4))
        yolo.model.train()(torch.rand(4, 3, 128, 128))
    yolo.model.eval()
    yolo.save(str(file))
    return str(file)


def text_clip(folder: Path) -> str:
    """Return a random CLIP whose text features have the width that YOLO-World and YOLOE expect."""
    torch.manual_seed(0)
    words = vocabulary()
    config = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {"context_length": 16, "vocab_size": len(words) + 4, "width": 32, "heads": 2, "layers": 1},
    }
    model = open_clip.model.CLIP(**config)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    open_clip.factory.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    tokenizer = WordTokenizer(words, 16)
    save_model(ClipEncoder("tiny", model, tokenizer, crop_size=32, dense="tokens", config=config), folder)
    return str(folder)


YOLOS = {"yolo-world": yolo_world, "yoloe": yoloe}
"""Name of the grounder -> function that writes a tiny model of it into a file."""


def command(folder: Path) -> str:
    """Return the command that evaluates the models of a folder in one table."""
    vlms = [f"vlm:{folder / family}" for family in VLMS if family != "florence2"]
    methods = ",".join([*DETECTORS, "sam3", *YOLOS, "florence-2", *vlms])
    options = [f"{name}.weights={folder / name}" for name in (*DETECTORS, "sam3")]
    for name in YOLOS:
        options += [f"{name}.weights={folder / name}.pt", f"{name}.text_clip={folder / 'text-clip'}"]
        options += [f"{name}.image_size=128"]
    options += [f"florence-2.weights={folder / 'florence2'}", "florence-2.max_new_tokens=16", "vlm.max_new_tokens=16"]
    return (
        f"python evaluate.py --methods {methods} --dataset refshapes --split test --limit 50 --clip none "
        f"--out {folder / 'results'} {' '.join(options)}"
    )


def main() -> None:
    """Write every model and print the command that evaluates them."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for the models")
    out = p.parse_args().out
    logging.getLogger("transformers").setLevel(logging.ERROR)
    t.utils.logging.disable_progress_bar()
    for name, make in {**DETECTORS, **VLMS, "sam3": sam3}.items():
        make(out / name)
    for name, make in YOLOS.items():
        make(out / f"{name}.pt")
    text_clip(out / "text-clip")
    print(command(out))


if __name__ == "__main__":
    run(main)
