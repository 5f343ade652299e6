"""Make ``detr.safetensors``: inputs, random weights and outputs of DETR's layers, computed by transformers' own DETR.

python tests/baselines/parity_tiny/make.py

transformers is an implementation that this project had no part in: a fresh clone proves its layers without a download.
Two images of 3 x 4 cells, one of them padded, 16 channels, and five queries: first as MDETR's decoder takes them
(object queries that start at zero), then as Dynamic MDETR's (text tokens with positions, some of them padding).
Weights are stored under the names of the published checkpoints.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

FILE = Path(__file__).with_name("detr.safetensors")
SIZES = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "dropout": 0.0}  # fmt: skip
NAMES = {".mlp.fc1.": ".linear1.", ".mlp.fc2.": ".linear2.", ".o_proj.": ".out_proj.",
         ".self_attn_layer_norm.": ".norm1.", "layernorm.": "norm."}  # fmt: skip
ENCODER = {**NAMES, ".final_layer_norm.": ".norm2."}
MDETR = {**NAMES, ".encoder_attn_layer_norm.": ".norm3.", ".final_layer_norm.": ".norm4.",
         ".encoder_attn.": ".cross_attn_image."}  # fmt: skip
STAGE = {**NAMES, ".encoder_attn_layer_norm.": ".norm2.", ".final_layer_norm.": ".norm3.",
         ".encoder_attn.": ".multihead_attn."}  # fmt: skip
"""Names in transformers -> published names."""


def published(module: torch.nn.Module, names: dict[str, str], prefix: str) -> dict[str, torch.Tensor]:
    """Weights of a module of transformers under the published names, q, k and v in one tensor."""
    found: dict[str, torch.Tensor] = {}
    for key, value in module.state_dict().items():
        for theirs, ours in names.items():
            key = key.replace(theirs, ours)
        for letter in "qkv":
            key = key.replace(f".{letter}_proj.", f".in_proj_{letter}.")
        found[prefix + key] = value
    for key in [key for key in found if ".in_proj_q." in key]:
        parts = [found.pop(key.replace(".in_proj_q.", f".in_proj_{letter}.")) for letter in "qkv"]
        found[key.replace(".in_proj_q.", ".in_proj_")] = torch.cat(parts)
    return found


def randomized(module: torch.nn.Module) -> torch.nn.Module:
    """The module in eval mode, with random numbers in every parameter, biases and norms included."""
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5)
    return module.eval()


@torch.no_grad()
def main() -> None:
    """Write the file."""
    from transformers import DetrConfig
    from transformers.models.detr.modeling_detr import DetrDecoder, DetrEncoder, DetrSinePositionEmbedding

    torch.manual_seed(0)
    config = DetrConfig(**SIZES, attn_implementation="eager")
    encoder, mdetr, stage = (randomized(cls(config)) for cls in (DetrEncoder, DetrDecoder, DetrDecoder))
    maps, queries, text, text_positions = (torch.randn(2, *s, 16) for s in ((3, 4), (5,), (5,), (5,)))
    mask, text_mask = torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2, 5, dtype=torch.bool)
    mask[1, 2:], mask[1, :, 3:], text_mask[0, 3:] = True, True, True  # True at padding
    shape = torch.Size([2, 16, 3, 4])
    code = DetrSinePositionEmbedding(8, normalize=True)(shape, torch.device("cpu"), torch.float32, ~mask)
    positions, present = code.flatten(2).transpose(1, 2), (~mask).flatten(1).long()
    memory = encoder(maps.flatten(1, 2), present, positions).last_hidden_state
    seen = {
        "encoder_hidden_states": memory,
        "encoder_attention_mask": present,
        "spatial_position_embeddings": positions,
    }
    objects = mdetr(torch.zeros_like(queries), object_queries_position_embeddings=queries, **seen).last_hidden_state
    seen.pop("encoder_attention_mask")  # a stage's points are all there
    read = stage(text, (~text_mask).long(), object_queries_position_embeddings=text_positions, **seen).last_hidden_state
    inputs = {"maps": maps, "mask": mask, "queries": queries, "text": text, "text_positions": text_positions,
              "text_mask": text_mask}  # fmt: skip
    outputs = {"positions": code, "memory": memory, "objects": objects, "read": read}
    weights = {**published(encoder, ENCODER, "encoder."), **published(mdetr, MDETR, "mdetr."),
               **published(stage, STAGE, "stage.")}  # fmt: skip
    parts = {"input": inputs, "output": outputs, "weight": weights}
    found = {f"{part}.{name}": v.contiguous() for part, tensors in parts.items() for name, v in tensors.items()}
    save_file(found, FILE)


if __name__ == "__main__":
    main()
