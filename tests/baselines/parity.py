"""Reading the fixtures that the official code of the published networks made."""

import json
import zlib

import numpy as np
import torch
from safetensors.torch import load_file

from vg_gym.learned.batch import Batch
from vg_gym.learned.tokenization import Tokens

DROPPED = "position_ids"


class Fixture:
    """One folder of fixtures: the state dict under the official names, inputs, outputs."""

    def __init__(self, folder):
        self.meta = json.loads((folder / "meta.json").read_text())
        self.inputs = load_file(folder / "inputs.safetensors")
        self.outputs = load_file(folder / "outputs.safetensors")
        self.stored = load_file(folder / "weights.safetensors")
        self.state = {k: self._tensor(k, v) for k, v in self.meta["weights_table"].items() if not v.get("int")}

    def _tensor(self, key, row):
        if row.get("fixed"):
            return self.stored[key]
        made = recipe(self.meta["recipe_seed"], key, row["shape"], row["lo"], row["hi"])
        if key in self.stored:
            torch.testing.assert_close(made, self.stored[key], rtol=0, atol=0)
        return made

    def batch(self):
        """The inputs, one text an image, images that fill their canvas."""
        i = self.inputs
        ids, count = i["input_ids"], len(i["input_ids"])
        padding = i["attention_mask"] == 0 if "attention_mask" in i else torch.zeros_like(ids, dtype=torch.bool)
        outside = i["image_mask"].bool() if "image_mask" in i else torch.zeros_like(i["images"][:, 0], dtype=torch.bool)
        frames = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(count, 1)
        tokens = Tokens(ids, padding, ~padding)
        return Batch(i["images"], outside, frames, torch.arange(count), tokens)


def recipe(seed, key, shape, low, high):
    """The seeded weights of the fixtures' README."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed}|{key}".encode())))
    return torch.from_numpy(np.asarray(low + (high - low) * generator.random(shape), dtype=np.float32))


def close(found, wanted, tolerance=1e-5):
    """Equal up to a share of the largest magnitude."""
    assert found.shape == wanted.shape
    assert float((found.detach() - wanted.detach()).abs().max()) <= tolerance * float(wanted.abs().max())


def full_keys(path):
    """Official state dict of a full-size network, as empty tensors."""
    keys = json.loads(path.read_text())["keys"]
    return {k: torch.zeros(v["shape"], dtype=getattr(torch, v["dtype"]), device="meta") for k, v in keys.items()}
