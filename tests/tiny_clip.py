"""A random CLIP of the built-in one's architecture, 4 x 4 tokens of width 16: quick, and deterministic."""

import open_clip
import torch

from vg_gym.clip.encoder import ClipEncoder
from vg_gym.clip.tokenizer import WordTokenizer
from vg_gym.data.worlds.refshapes.expressions import vocabulary

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": len(vocabulary()) + 4, "width": 32, "heads": 2, "layers": 1},
}


def make_tiny_clip() -> ClipEncoder:
    """The encoder."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = open_clip.model.CLIP(**TINY)
    mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD
    open_clip.factory.set_model_preprocess_cfg(model, {"mean": mean, "std": std})
    return ClipEncoder("tiny", model, WordTokenizer(vocabulary(), 16), crop_size=32, dense="tokens", config=TINY)
