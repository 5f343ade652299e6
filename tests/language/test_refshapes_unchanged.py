"""The built-in agents were trained on what the parser says of RefShapes, so none of it may change."""

import hashlib
from zlib import crc32

import numpy as np
import pytest

from vg_gym.data.worlds.refshapes.dataset import RefShapes
from vg_gym.language.parsing import Parsed, noun_phrases, parse
from vg_gym.language.resolution import resolve

EXPRESSIONS = 2000
CORNERS = np.random.default_rng(0).uniform(0, 80, (8, 2))
BOXES = np.concatenate([CORNERS, CORNERS + np.random.default_rng(1).uniform(5, 40, (8, 2))], axis=1)
DIGESTS = {
    "train": "0b324b7a6d1caa61",
    "val": "0152b614f968a69b",
    "test": "0c13701fa78b0bdd",
}
"""SHA-256 of the readings at the first 2,000 expressions of each split, computed before depth and ordinals."""


def logits(phrase):
    return np.random.default_rng(crc32(phrase.encode())).normal(0, 3, len(BOXES))


def as_tuple(parsed: Parsed | None):
    return parsed and (parsed.phrase, parsed.superlatives, parsed.relation, as_tuple(parsed.anchor))


@pytest.mark.parametrize("split", DIGESTS)
def test_readings_of_refshapes_are_as_before(split):
    data = RefShapes("refshapes", split)
    digest = hashlib.sha256()
    for i in range(EXPRESSIONS):
        text = data[i].query.expression
        parsed = parse(text)
        values = [round(value, 6) for value in resolve(parsed, BOXES, logits).tolist()]
        digest.update(repr((text, noun_phrases(text), as_tuple(parsed), values)).encode())
    assert digest.hexdigest()[:16] == DIGESTS[split]
