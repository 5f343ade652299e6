"""Voice of a writer: the words that one writer prefers for a noun, a colour, a pattern or a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vg_gym.data.worlds.refscenes import lexicon
from vg_gym.data.worlds.refscenes.kinds import KINDS, PART_NAMES, VARIANTS, kind_named, nouns
from vg_gym.data.worlds.refscenes.meaning import Sort
from vg_gym.data.worlds.refscenes.scene import Thing

PRONOUNS = {"man": "his", "boy": "his", "woman": "her", "girl": "her"}
"""Variant of a person -> pronoun; everything else is "its"."""
BRITISH_SHARE, TERSE_SHARE, WORDY_SHARE = 0.35, 0.09, 0.88
"""Probabilities that a writer is British, leaves out articles, and prefers long forms."""


class Voice:
    """Spelling and preferences, drawn once for an expression; a kind keeps its noun throughout."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Draw the preferences with a random generator."""
        self.rng = rng
        self.british = int(rng.random() < BRITISH_SHARE)
        self.terse = rng.random() < TERSE_SHARE
        self.wordy = rng.random() < WORDY_SHARE
        self.nouns: dict[str, str] = {}

    def choose(self, words: Sequence[str]) -> str:
        """Return one of several ways to say the same, the first ones more often."""
        number = int(len(words) * self.rng.random() ** 1.8)
        if self.wordy and self.chance(0.6):
            other = words[int(len(words) * self.rng.random())]
            return max(words[number], other, key=len)
        return words[number]

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return bool(self.rng.random() < probability)

    def spell(self, word: str) -> str:
        """Return a word as Americans or the British say it."""
        return lexicon.SPELLINGS[word][self.british] if word in lexicon.SPELLINGS else word

    def fill(self, template: str, thing: Thing, *others: str) -> str:
        """Return a template with other things, the pronoun of its thing, and spellings filled in."""
        spellings = {word: self.spell(word) for word in ("color", "center", "farthest")}
        return template.format(*others, his=PRONOUNS.get(thing.variant, "its"), **spellings)

    def who(self, thing: Thing) -> str:
        """Return a relative pronoun."""
        return self.choose(("who", "who", "that")) if thing.kind == "person" else self.choose(("that", "that", "which"))

    def noun(self, sort: Sort, new_words: bool) -> str:
        """Return a noun for a sort of things."""
        if not new_words and sort.name in self.nouns:
            return self.nouns[sort.name]
        noun = self._any_noun(sort, new_words)
        return noun if new_words else self.nouns.setdefault(sort.name, noun)

    def _any_noun(self, sort: Sort, new_words: bool) -> str:
        """Return one of the nouns for a sort."""
        if sort.name in lexicon.SORT_NOUNS:
            return (
                kind_named(sort.name).held_out
                if new_words and sort.name in KINDS
                else self.choose(lexicon.SORT_NOUNS[sort.name])
            )
        if sort.name in VARIANTS:
            return VARIANTS[sort.name][-1] if new_words else self.choose(nouns("person", sort.name))
        return kind_named(sort.name).held_out if new_words else self.choose(nouns(sort.name))

    def pattern_nouns(self, pattern: str, thing: Thing) -> tuple[str, ...]:
        """Return the nouns for a pattern: animals have spots."""
        spotted = pattern == "dotted" and kind_named(thing.kind).supercategory == "animal"
        return ("spots",) if spotted else lexicon.PATTERN_NOUNS[pattern]

    def pattern_adjectives(self, pattern: str, thing: Thing) -> tuple[str, ...]:
        """Return the words for a pattern; animals have spots, and only cloth is plaid."""
        if pattern == "dotted" and kind_named(thing.kind).supercategory == "animal":
            return ("spotted",)
        if pattern == "checked" and thing.kind != "person":
            return (self.spell("checked"),)
        return lexicon.PATTERN_WORDS[pattern]

    def color_word(self, color: str, part: str) -> str:
        """Return a word for the colour of a part."""
        words = lexicon.HAIR_WORDS.get(color) if part == "hair" else lexicon.COLOR_WORDS.get(color)
        return self.choose(words) if words else self.spell(color)

    def part_noun(self, name: str, color: str = "") -> str:
        """Return a noun for a part."""
        if name == "shirt":
            return self.spell(self.choose(lexicon.SHIRTS))
        if name == "blanket":
            return "blanket"
        if name == "shoes" and self.chance(0.5):
            return "shoes"
        if name == "trousers" and color == "blue" and self.chance(0.4):
            return "jeans"
        return self.spell(name) if name in lexicon.SPELLINGS else self.choose(PART_NAMES[name])
