"""Typing errors, as some of the expressions of people have; training texts only."""

from __future__ import annotations

import numpy as np

TYPO_SHARE = 0.03
"""Probability that an expression of the training split has a typing error."""
MIN_LETTERS = 4
"""Length of the shortest word that is mistyped."""
NEIGHBOURS = {
    "a": "s", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj", "i": "uo", "j": "hk",
    "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o", "q": "w", "r": "et", "s": "ad", "t": "ry",
    "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu", "z": "x",
}  # fmt: skip
"""Letter -> the letters beside it on a keyboard."""


def typo(text: str, rng: np.random.Generator) -> str:
    """Return a text with one typing error in one of its longer words, or the text where it has none.

    >>> typo("the striped mug", np.random.default_rng(1))
    'the stroped mug'
    """
    words = text.split()
    long = [i for i, word in enumerate(words) if len(word) >= MIN_LETTERS and word.isalpha()]
    if not long:
        return text
    i = long[int(rng.integers(len(long)))]
    words[i] = _mistyped(words[i], rng)
    return " ".join(words)


def _mistyped(word: str, rng: np.random.Generator) -> str:
    """Return a word with a letter left out, doubled, exchanged with the next one, or replaced by a neighbour."""
    at = int(rng.integers(1, len(word) - 1))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    near = NEIGHBOURS.get(letter, letter)
    forms = (
        before + after,
        before + letter + letter + after,
        before + after[0] + letter + after[1:],
        before + near[int(rng.integers(len(near)))] + after,
    )
    return forms[int(rng.integers(len(forms)))]


def with_typos(text: str, rng: np.random.Generator) -> str:
    """Return a text that has a typing error with probability :data:`TYPO_SHARE`."""
    return typo(text, rng) if rng.random() < TYPO_SHARE else text
