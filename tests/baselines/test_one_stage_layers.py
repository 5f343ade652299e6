"""DETR's layers compute what transformers' DETR computes: a fixture of our own making (``parity_tiny/make.py``)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.baselines.parity import close
from vg_gym.baselines.one_stage.mdetr import MDETRDecoderLayer
from vg_gym.baselines.one_stage.transformer import Decoder, Encoder, LayerSizes, sine_positions
from vg_gym.learned.weights import load_strictly

FILE = Path(__file__).with_name("parity_tiny") / "detr.safetensors"
SIZES = LayerSizes(dim=16, heads=4, feedforward=24)


@pytest.fixture(scope="module")
def fixture():
    return load_file(FILE)


def part(fixture, prefix):
    return {k.removeprefix(prefix): v for k, v in fixture.items() if k.startswith(prefix)}


def filled(model, fixture, name):
    load_strictly(model, part(fixture, f"weight.{name}."), str(FILE))
    return model.eval()


@torch.no_grad()
def test_layers(fixture):
    given, wanted = part(fixture, "input."), part(fixture, "output.")
    code = sine_positions(given["mask"], SIZES.dim)
    close(code, wanted["positions"])
    positions, mask = code.flatten(2).transpose(1, 2), given["mask"].flatten(1)
    memory = filled(Encoder(SIZES, 2), fixture, "encoder")(given["maps"].flatten(1, 2), mask, positions)
    close(memory[~mask], wanted["memory"][~mask])
    memory = wanted["memory"]
    queries = given["queries"]
    mdetr = filled(Decoder(SIZES, 2, MDETRDecoderLayer), fixture, "mdetr")
    close(mdetr(torch.zeros_like(queries), queries, None, memory, memory + positions, mask)[-1], wanted["objects"])
    stage, text = filled(Decoder(SIZES, 2), fixture, "stage"), (given["text_positions"], given["text_mask"])
    close(stage(given["text"], *text, memory, memory + positions)[-1], wanted["read"])


@torch.no_grad()
def test_the_fixture_would_tell(fixture):
    """Masks and positions matter in it: without either the answer is another."""
    given, wanted = part(fixture, "input."), part(fixture, "output.")
    encoder, mask = filled(Encoder(SIZES, 2), fixture, "encoder"), given["mask"].flatten(1)
    for arguments in ((None, wanted["positions"].flatten(2).transpose(1, 2)), (mask, None)):
        found = encoder(given["maps"].flatten(1, 2), *arguments)
        assert (found - wanted["memory"])[~mask].abs().max() > 0.01


def test_the_fixture_is_small():
    assert FILE.stat().st_size < 100_000
