"""Wording of meanings: the noun phrases that people write for a meaning.

Every test of a phrase becomes a fragment with a place in the phrase: before the noun, or after it in the
order of parts, clothes, action and place, so that "on the left" belongs to the noun before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vg_gym.data.worlds.refscenes import lexicon
from vg_gym.data.worlds.refscenes.graph import Graph, members
from vg_gym.data.worlds.refscenes.kinds import kind_named, plural
from vg_gym.data.worlds.refscenes.meaning import (
    Between,
    Color,
    Facing,
    Has,
    Not,
    Pattern,
    Phrase,
    Pick,
    Place,
    Pose,
    Related,
    SameColor,
    Test,
)
from vg_gym.data.worlds.refscenes.scene import Thing
from vg_gym.data.worlds.refscenes.voice import Voice

PLURALS = {
    "is": "are", "isn't": "aren't", "has": "have", "does": "do", "his": "their", "her": "their", "its": "their",
}  # fmt: skip
"""Word about one thing -> word about several."""
TIE = "\u00a0"
"""Space within the text of an anchor, whose verbs stay as they are where several things are meant."""
CLAUSE_SHARE = 0.3
"""Probability that what follows the noun begins with "that", "which" or "who"."""
ORDER_BEFORE = ("pick", "place", "pose", "pattern", "color")
"""Order of the words before the noun."""


@dataclass
class Parts:
    """The fragments of one noun phrase by their places."""

    before: dict[str, str] = field(default_factory=dict)
    first: list[str] = field(default_factory=list)
    worn: list[str] = field(default_factory=list)
    had: list[str] = field(default_factory=list)
    does: list[str] = field(default_factory=list)
    at: list[str] = field(default_factory=list)


class Writer(Voice):
    """Writer of one expression."""

    def __init__(self, graph: Graph, rng: np.random.Generator, new_words: bool = False) -> None:
        """Choose the habits of the writer.

        Args:
            graph: the scene graph that the meanings are true of.
            rng: random generator of all choices.
            new_words: whether the nouns of targets are those held out for ``test-new-words``.
        """
        super().__init__(rng)
        self.graph, self.new_words = graph, new_words
        self.anchored = False
        """True while an anchor is written."""

    def write(self, meaning: Phrase, targets: Sequence[int]) -> str:
        """Return the text of a meaning that means the given things."""
        thing = self.graph.things[targets[0]]
        body = self._phrase(meaning, thing, self.new_words).replace(TIE, " ")
        if meaning.count != 1:
            return f"{self.choose(lexicon.COUNTS[meaning.count])} {body}"
        if meaning.pick or self.chance(0.4):
            article = "the"
        else:
            article = _article(body)
        return body if self.terse and " " in body else f"{article} {body}"

    def _anchor(self, phrase: Phrase, article: str | None = None) -> str:
        """Return the text of the thing that another one is related to."""
        index = next(members(phrase.fit(self.graph).clear))
        before, self.anchored = self.anchored, True
        body = self._phrase(phrase, self.graph.things[index], False)
        self.anchored, body = before, body.replace(" ", TIE)
        if self.terse and self.chance(0.3):
            return body
        definite = phrase.pick or article == "the" or self.chance(0.6)
        return f"the{TIE}{body}" if definite else f"{_article(body)}{TIE}{body}"

    def _phrase(self, meaning: Phrase, thing: Thing, new_words: bool) -> str:
        """Return the text of a phrase without an article."""
        parts, many = Parts(), meaning.count != 1
        looks = [test for test in meaning.tests if isinstance(test, (Color, Pattern))]
        for name in dict.fromkeys(test.part for test in looks):
            self._look(parts, [test for test in looks if test.part == name], thing)
        for test in meaning.tests:
            if test not in looks:
                self._add(parts, test, thing, many)
        if meaning.pick:
            self._pick(parts, meaning, thing)
        self._clause(parts, thing)
        noun = self.noun(meaning.sort, new_words)
        before = [parts.before[slot] for slot in ORDER_BEFORE if slot in parts.before]
        words = [*before, plural(noun) if many else noun, *self._after(parts, thing, many)]
        return " ".join(words)

    def _clause(self, parts: Parts, thing: Thing) -> None:
        """Move a colour behind the noun, if nothing else stands there or only a place: "the mug that is red"."""
        if "color" in parts.before and not (parts.first or parts.worn or parts.had or parts.does) and self.chance(0.12):
            parts.first.append(f"{self.who(thing)} is {parts.before.pop('color')}")

    def _after(self, parts: Parts, thing: Thing, many: bool) -> list[str]:
        """Return the texts that follow the noun; "with" comes before "in", and what is done before where."""
        texts = list(parts.first)
        dressed = thing.kind == "person" and not all(text.endswith(lexicon.ACCESSORIES) for text in parts.worn)
        if parts.had:
            having = self.choose(("with", "with", f"{self.who(thing)} has"))
            dressed = dressed and having == "with"  # one relative clause is enough
            texts.append(f"{having} {_joined(parts.had)}")
        if parts.worn:
            wearing = lexicon.WEARING if dressed else lexicon.WEARING[:4]
            texts.append(f"{self.choose(wearing)} {_joined(parts.worn)}")
        if parts.does:
            texts.append(" and ".join(parts.does))
        texts += parts.at
        return [_plural_verbs(text) if many else text for text in texts]

    def _look(self, parts: Parts, tests: Sequence[Color | Pattern], thing: Thing) -> None:
        """Add what the colour and pattern of one part are."""
        name = thing.main.name if tests[0].part == "main" else tests[0].part
        colors = [test.color for test in tests if isinstance(test, Color)]
        patterns = [test.pattern for test in tests if isinstance(test, Pattern)]
        color = self.color_word(colors[0], name) if colors else ""
        pattern = self.choose(self.pattern_adjectives(patterns[0], thing)) if patterns else ""
        if name in lexicon.GARMENTS and thing.kind in ("person", "teddy bear", "snowman") or tests[0].part != "main":
            self._wear(parts, name, " ".join(word for word in (pattern, color) if word), thing)
        else:
            if pattern and patterns[0] != "plain" and self.chance(0.25):
                parts.had.append(self.choose(self.pattern_nouns(patterns[0], thing)))
            elif pattern:
                parts.before["pattern"] = pattern
            if color:
                parts.before["color"] = f"{color} {self.spell('color')}ed" if self.chance(0.03) else color

    def _wear(self, parts: Parts, name: str, look: str, thing: Thing) -> None:
        """Add a part with its look."""
        worn = name in lexicon.GARMENTS
        if name == "hair" and self.chance(0.2) and " " not in look:
            parts.before["pose"] = f"{look} haired"
            return
        if worn and self.chance(0.1) and look in lexicon.COLOR_WORDS and name == thing.main.name:
            parts.worn.append(look)
            return
        text = f"{look} {self.part_noun(name, look)}"
        text = text if name in lexicon.PLURAL_PARTS or (self.terse and self.chance(0.5)) else f"{_article(text)} {text}"
        (parts.worn if worn else parts.had).append(text)

    def _add(self, parts: Parts, test: Test, thing: Thing, many: bool) -> None:
        """Add the fragment of a test that is not about looks."""
        if isinstance(test, Has):
            noun = self.part_noun(test.part)
            article = "" if test.part in lexicon.PLURAL_PARTS else f"{_article(noun)} "
            (parts.worn if test.part in lexicon.GARMENTS else parts.had).append(article + noun)
        elif isinstance(test, Pose):
            self._pose(parts, test.pose, thing)
        elif isinstance(test, Facing):
            vehicle = kind_named(thing.kind).supercategory == "vehicle"
            forms = lexicon.FACINGS_OF_VEHICLES if vehicle else lexicon.FACINGS
            parts.does.append(self.fill(self.choose(forms[test.direction]), thing))
        elif isinstance(test, Place):
            self._place(parts, test.name, thing, many)
        elif isinstance(test, Related):
            self._related(parts, test, thing)
        elif isinstance(test, Between):
            pair = self._anchor(test.anchor), self._anchor(test.second)
            parts.at.append(self._located(self.fill(self.choose(lexicon.BETWEEN), thing, *pair), thing))
        elif isinstance(test, SameColor):
            parts.at.append(self.fill(self.choose(lexicon.SAME_COLOR), thing, self._anchor(test.anchor, "the")))
        elif isinstance(test, Not):
            self._negated(parts, test.test, thing)

    def _pose(self, parts: Parts, pose: str, thing: Thing) -> None:
        """Add what the thing does."""
        if pose in lexicon.POSE_ADJECTIVES and "pose" not in parts.before and self.chance(0.15):
            parts.before["pose"] = lexicon.POSE_ADJECTIVES[pose]
        else:
            parts.does.append(self.fill(self.choose(lexicon.POSES[pose]), thing))

    def _place(self, parts: Parts, name: str, thing: Thing, many: bool) -> None:
        """Add a place in the picture."""
        if name in lexicon.PLACE_ADJECTIVES and self.chance(0.15) and not many:
            parts.before["place"] = self.fill(self.choose(lexicon.PLACE_ADJECTIVES[name]), thing)
        else:
            parts.at.insert(0, self._located(self.fill(self.choose(lexicon.PLACES[name]), thing), thing))

    def _related(self, parts: Parts, test: Related, thing: Thing) -> None:
        """Add a relation to another thing."""
        other = self.graph.things[next(members(test.anchor.fit(self.graph).clear))]
        templates = lexicon.RELATIONS[test.relation]
        if test.relation == "under" and other.pose in lexicon.SUPPORTING:
            templates = lexicon.SUPPORTING[other.pose]
        text = self.fill(self.choose(templates), thing, self._anchor(test.anchor))
        if test.relation == "holding":
            parts.does.append(text)
        elif test.relation in ("under", "held by"):
            parts.at.append(text)
        elif parts.does and test.relation == "on":
            parts.does[-1] = f"{parts.does[-1]} {text}"
        else:
            parts.at.append(text if parts.does else self._located(text, thing))

    def _located(self, text: str, thing: Thing) -> str:
        """Return where something is, perhaps with a verb."""
        if not self.chance(2 * CLAUSE_SHARE if self.wordy else CLAUSE_SHARE / 2):
            return text
        if thing.pose in ("sitting", "lying", "walking"):
            return f"{thing.pose} {text}"
        return f"{self.choose(lexicon.LOCATED.get(kind_named(thing.kind).supercategory, lexicon.LOCATED_THING))} {text}"

    def _negated(self, parts: Parts, test: Test, thing: Thing) -> None:
        """Add what a thing is not, has not or does not."""
        inner = Parts()
        if isinstance(test, (Color, Pattern)):
            self._look(inner, [test], thing)
        else:
            self._add(inner, test, thing, False)
        who = self.who(thing)
        is_not = self.choose(("is not", "isn't"))
        if inner.worn:
            forms = (
                f"without {inner.worn[0]}",
                f"not wearing {inner.worn[0]}",
                f"{who} {is_not} wearing {inner.worn[0]}",
            )
        elif inner.had:
            forms = (f"without {inner.had[0]}", f"{who} does not have {inner.had[0]}", f"not having {inner.had[0]}")
        else:
            words = (*inner.before.values(), *inner.does, *inner.at)[0].removeprefix("that is ")
            clause = f"{who} {is_not} {words}"
            forms = (clause, clause, f"not {words}" if inner.does else clause)
        parts.does.append(self.choose(forms))

    def _pick(self, parts: Parts, meaning: Phrase, thing: Thing) -> None:
        """Add the choice of one thing out of several."""
        pick = meaning.pick or Pick("left")
        if pick.anchor:
            parts.at.append(self.fill(self.choose(lexicon.CLOSEST), thing, self._anchor(pick.anchor, "the")))
        elif pick.number == 0:
            self._middle(parts, thing)
        elif pick.number > 1 or (pick.rank in ("left", "right") and self.chance(0.06)):
            self._ordinal(parts, pick, thing)
        else:
            self._superlative(parts, pick, meaning, thing)

    def _middle(self, parts: Parts, thing: Thing) -> None:
        """Add that a thing is the middle one."""
        if self.chance(0.4):
            parts.before["pick"] = self.fill(self.choose(("middle", "{center}")), thing)
        else:
            parts.first.append(self.fill(self.choose(lexicon.MIDDLE), thing))

    def _ordinal(self, parts: Parts, pick: Pick, thing: Thing) -> None:
        """Add a number in an order."""
        number = (lexicon.FIGURES if self.chance(0.12) else lexicon.NUMBERS)[pick.number]
        if pick.rank not in lexicon.ORDER_FROM or (pick.rank in ("near", "far") and self.chance(0.5)):
            parts.before["pick"] = f"{number} {self.fill(self.choose(lexicon.FIRST[pick.rank][:2]), thing)}"
            return
        start = self.choose(lexicon.ORDER_FROM[pick.rank])
        if self.chance(0.2) and start.startswith("from"):
            parts.first.append(f"{number} {start}")
        else:
            parts.before["pick"] = number
            parts.first.append(start)

    def _superlative(self, parts: Parts, pick: Pick, meaning: Phrase, thing: Thing) -> None:
        """Add a superlative, or a comparative where there are two."""
        pool = Phrase(meaning.sort, meaning.tests).fit(self.graph).clear.bit_count()
        if pool == 2 and pick.rank in lexicon.COMPARATIVES and self.chance(0.5):
            parts.before["pick"] = self.choose(lexicon.COMPARATIVES[pick.rank])
        elif self.chance(0.45):
            parts.before["pick"] = self.fill(self.choose(lexicon.FIRST[pick.rank]), thing)
            if self.wordy and not meaning.tests and not self.anchored and self.chance(0.4):
                parts.first.append(self.choose(lexicon.IN_PICTURE))
        else:
            parts.first.append(self.fill(self.choose(lexicon.FIRST_AFTER[pick.rank]), thing))


def _article(text: str) -> str:
    """Return the indefinite article of a noun phrase."""
    return "an" if text[0] in "aeiou" and not text.startswith(("uni", "one")) else "a"


def _joined(texts: Sequence[str]) -> str:
    """Return a list in words.

    >>> _joined(["a red shirt", "white trousers", "a hat"])
    'a red shirt, white trousers and a hat'
    """
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]


def _plural_verbs(text: str) -> str:
    """Return a text with the verbs and pronouns of several things.

    >>> _plural_verbs("that is facing left with its head down")
    'that are facing left with their head down'
    """
    return " ".join(PLURALS.get(word, word) for word in text.split(" "))
