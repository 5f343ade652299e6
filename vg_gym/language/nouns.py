"""The noun of a phrase: "the parked car" of "half of the parked car with a dog" names a car.

No parser is used: a noun phrase ends at the first word that cannot belong to it (a preposition, a verb, a
punctuation mark), and its last word is the noun. Portions are skipped.
"""

from __future__ import annotations

import re
from functools import lru_cache

from vg_gym.language.word_classes import FUNCTION_WORDS, PORTIONS, VERBS, is_one_of

_OPENING = re.compile(
    r"^(?:(?:there|this|it|he|she)(?: is| ' s|'s| was)|these are|(?:a|the) (?:picture|photo|image) of) "
)
_PORTION = re.compile(rf"^(?:[\w-]+ ){{0,4}}?(?:{PORTIONS}) (?:end |part |side |half )?of (?=\w)")
_DETERMINER = "a|an|the|this|that|these|those|his|her|its|their|your|my|some|another|each|any"
_GERUND_NOUNS = (
    "building|ceiling|clothing|frosting|railing|wedding|painting|pudding|string|ring|wing|king|thing|swing|icing|"
    "topping|parking|dining|living|washing|shopping|rolling|training|measuring|cutting|serving|swimming|steering|wing"
)
_ADJECTIVES_IN_ED = "red|bed|shed|sled|seed|weed|moped|naked|shred|thoroughbred|speed"
_PLACED_AFTER = "upright|alone|together|here|there|right|left|upper|lower|far|furthest|back|only|first|second|third"


def head_noun(phrase: str) -> str:
    """Return the noun of a lower-case phrase, or an empty string.

    >>> [head_noun(text) for text in ("half of a sliced sandwich", "a boy ' s left shoulder", "the dog sitting up")]
    ['sandwich', 'shoulder', 'dog']
    """
    words = noun_phrase(phrase).split()
    return words[-1] if words else ""


@lru_cache(maxsize=4096)
def noun_phrase(phrase: str) -> str:
    """Return the words of the first noun phrase without its determiner and portions, up to its noun.

    >>> noun_phrase("the front of a green and white vw van that is parked")
    'green and white vw van'
    """
    text = _OPENING.sub("", re.sub(r" ?' ?s\b", "'s", phrase.strip()))
    while match := _PORTION.match(text):
        if re.search(rf"(?<![\w-])(?:{FUNCTION_WORDS})(?![\w-])", match.group().rpartition("of ")[0]):
            break
        text = text[match.end() :]
    words: list[str] = []
    tokens = re.findall(r"[\w#'-]+|[^\w\s]", text)
    for i, token in enumerate(tokens):
        if _ends_here(words, token, tokens[i + 1 :]):
            break
        words.append(token)
    if len(words) > 1 and is_one_of(_DETERMINER, words[0]):
        words = words[1:]
    while len(words) > 1 and (_is_participle(words[-1]) or is_one_of(_PLACED_AFTER, words[-1])):
        words.pop()
    return " ".join(words)


def _ends_here(words: list[str], token: str, following: list[str]) -> bool:
    """Return whether a token does not belong to the noun phrase of the words before it."""
    if is_one_of(_DETERMINER, token):
        return bool(words)
    if token in ("and", "-", ",") and words:
        return not _joins_adjectives(words, following)
    if not words and not re.match(r"[\w#]", token):
        return False
    if not re.match(r"[\w#]", token) or is_one_of(FUNCTION_WORDS, token):
        return True
    if all(is_one_of(_DETERMINER, word) for word in words):
        return False
    if token.endswith("ing") and not is_one_of(_GERUND_NOUNS, token):
        return True
    return is_one_of(f"{VERBS}|closest|nearest|farthest|furthest|outside|inside", token)


def _joins_adjectives(words: list[str], following: list[str]) -> bool:
    """Return whether "and" joins two adjectives: "green and white van", but not "man and woman"."""
    colors = "black|white|red|green|blue|yellow|brown|gray|grey|orange|pink|purple|tan|silver|gold|dark|light|big|old"
    return (
        len(following) > 1
        and is_one_of(colors, words[-1])
        and not is_one_of(f"{_DETERMINER}|{FUNCTION_WORDS}", following[0])
    )


def _is_participle(word: str) -> bool:
    return word.endswith("ed") and not is_one_of(_ADJECTIVES_IN_ED, word)
