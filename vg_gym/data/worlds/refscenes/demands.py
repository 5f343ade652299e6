"""Splits of RefScenes: how many scenes they have, and what they demand of them."""

from __future__ import annotations

from dataclasses import dataclass

from vg_gym.data.worlds.refscenes.composition import Demand
from vg_gym.data.worlds.refscenes.language import SINGLE

USUAL_AREAS = (0.045, 1.0)
"""Range of the area of a target's box, as a fraction of the picture."""


NAME, ANY = "refscenes", "refscenes-any"
"""Names of the data set in which each expression means one thing, and of that in which it may mean none or several."""
ANY_EXPRESSIONS = 4
"""Number of expressions of each scene of the second: two mean one thing, one means several, and one means nothing."""


@dataclass(frozen=True)
class Split:
    """Properties that distinguish a split."""

    scenes: int = 500
    """Default number of scenes."""
    expressions: int = 4
    """Number of expressions of each scene."""
    demand: Demand = Demand()
    """Conditions that its scenes satisfy."""
    kinds: tuple[str, ...] = SINGLE
    """Kinds of expressions."""
    areas: tuple[float, float] = USUAL_AREAS
    """Range of the area of a target's box, as a fraction of the picture."""
    new_words: bool = False
    """True if the nouns of targets are those that are held out of training."""
    typos: bool = False
    """True if a few words have typing errors."""


SPLITS = {
    "train": Split(20_000, typos=True),
    "val": Split(),
    "test": Split(),
    "test-new-pairs": Split(expressions=2, demand=Demand(new_pairs=True)),
    "test-new-words": Split(new_words=True),
    "test-two-hop": Split(expressions=2, kinds=("two-hop",)),
    "test-crowded": Split(demand=Demand(things=(10, 16)), areas=(0.015, 1.0)),
    "test-shifted": Split(demand=Demand(shifted=True)),
    "test-small": Split(expressions=2, demand=Demand(areas=(0.012, 0.038)), areas=(0.01, 0.04)),
}
"""Name -> split; the order fixes the numbers of images."""
