"""Superlatives in a phrase, told from words that look like them: "the cup on the left", but not "her left hand".

A word of place is a superlative in four positions: after a preposition at the end of a clause ("on the far left,
smiling"), with "most", before the noun at the beginning of the phrase ("the top shelf"), or last ("cup bottom right").
It is not one if it names a part of a body or a garment, the direction that something faces, or the end from which
others are counted.
"""

from __future__ import annotations

import re

from vg_gym.language.vocabulary import NOT_PLACED_BEFORE, SCENES, SUPERLATIVES

_FORMS = {form: s.name for s in SUPERLATIVES for form in s.forms}
_WORD = "|".join(form for s in SUPERLATIVES if s.of_place for form in s.forms)
_PLACE = rf"(?:(?:far|very|extreme) )?(?:{_WORD})(?:[ -]?most)?(?:[ -](?:{_WORD})(?:[ -]?most)?)?"
_SIDE = r"(?:(?:[ -]hand)? (?:side|corner|edge|end|part|half))?"
_SCENE = rf"(?: (?:of|in) (?:the |this |a )?(?:{SCENES}))?"
_CLAUSE_END = (
    r"(?=$|[ ]?[,.;]| (?:in|on|at|by|with|and|near|behind|next|that|who|which|whose|is|are|has|\w+ing|\w+ed)\b)"
)
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:in|on|at|to|from|near|nearest|closest to) (?:the )?{_PLACE}{_SIDE}{_SCENE}{_CLAUSE_END}",
        rf"\b(?:(?:in|on|at|to|from) )?(?:the )?(?:{_WORD})[ -]?most\b{_SIDE}{_SCENE}",
        rf"^(?:(?:the|an?) )?(?:(?:two|three) )?{_PLACE}{_SIDE}{_SCENE}(?:$|(?= (?!(?:{NOT_PLACED_BEFORE})\b)\w))",
        rf"(?<=\w ){_PLACE}{_SIDE}{_SCENE}$",
        r"\b(?:largest|biggest|smallest|tiniest)\b",
    )
)
_COUNTED = re.compile(r"\b(?:second|third|fourth|fifth|sixth|2nd|3rd|[4-9]th|next|last)\b")
_FACING = re.compile(
    r"\b(?:(?:fac|look|lean|point|turn|head|mov|walk|go|bend|tilt|angl|gaz|star|swing|reach|runn|slant)(?:ing|ed)"
    r"|faces|looks|leans|points|turns|walks|goes|bends|bent|tilts|gazes|stares)(?: \w+)?$"
)
_OWNED = re.compile(r"(?:\b(?:his|her|its|their|your|my|an?|the|of)|'s?)$")
_REMAINING = re.compile(r"\b(?:only|last|one)(?: \w+)?$")
_COMPOUND = re.compile(r"\b(?:bikini|pajama|pyjama|suit|bell|entertainment|shopping|media|city)$")
_GARNISH = re.compile(r"\b(?:with|wearing|holding|in an?)\b")


def without_superlatives(text: str) -> tuple[str, tuple[str, ...]]:
    """Remove the superlatives from a lower-case phrase, and return the remaining text and their names.

    >>> without_superlatives("the cup in the top left corner"), without_superlatives("a woman in a pink tank top")
    (('the cup', ('left', 'top')), ('a woman in a pink tank top', ()))
    """
    names: set[str] = set()

    def take(match: re.Match[str]) -> str:
        before = match.string[: match.start()].rstrip()
        if _is_misread(match.group().strip(), before):
            return match.group()
        names.update(_FORMS[form] for form in re.findall(rf"{'|'.join(_FORMS)}", match.group()))
        return " "

    for pattern in _PATTERNS:
        text = " ".join(pattern.sub(take, text).split())
    return text, tuple(s.name for s in SUPERLATIVES if s.name in names)


def _is_misread(place: str, before: str) -> bool:
    """Return whether words that look like a superlative are not one, judged by the text before them."""
    if _COUNTED.search(before):
        return True
    if not re.search(_WORD, place):
        return False
    if _FACING.search(before):
        return True
    if not before or re.match(r"(?:in|on|at|to|from|nearest|near|closest)\b", place):
        upright = not re.search("left|right", place) and re.search("top|upper|bottom|lower", place)
        return bool(upright and not re.search(SCENES, place) and _GARNISH.search(before))
    return bool(place == "top" or _OWNED.search(before) or _COMPOUND.search(before) or _REMAINING.search(before))
