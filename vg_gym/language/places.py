"""Places, sizes and ordinals in a phrase, told from words that look like them: "the cup on the left", "her left hand".

A word of place is a superlative in four positions: after a preposition at the end of a clause ("on the far left,
smiling"), with "most", before the noun at the beginning of the phrase ("the top shelf"), or last ("cup bottom right").
It is not one if it names a part of a body, of a garment or of a thing ("front wheel"), the direction that something
faces, or the end from which others are counted. Depth has forms of its own: "closest to the camera" is ``front``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vg_gym.language.vocabulary import ORDINALS, SUPERLATIVES
from vg_gym.language.word_classes import PICTURES, SCENERY, SCENES, VERBS, VIEWER

NOT_PLACED_BEFORE = (
    "in|on|at|of|to|by|next|near|behind|beside|above|below|under|before|after|where|with|up|out|over|there|now|and|is|"
    "handed|hand|hands|arm|leg|foot|feet|paw|eye|ear|shoulder|sleeve|pocket|glove|knee|wrist|elbow|thumb|finger|wing|"
    "lip|half|face|facing|aged|age|eastern|hat|knot|coat|angle|handle|alone|open|turn"
)
"""Words before which the first word of a phrase is not a place: "right in front of", "left hand of", "a top hat"."""
PARTS = (
    "wheels?|tires?|tyres?|legs|paws|hooves|end|ends|portion|section|part|panel|cover|doors?|windows?|windshield|lights?|"
    "headlights?|yard|pack|bumper|grill|grille|wall|porch|lawn|rest|drop|teeth|seats?|half|side|view|pockets?|tip|"
    "fender|hood|cab|basket|bench seat|ward|most part|side of|of"
)
"""Nouns before which "front", "back" and "rear" name a part of a thing."""

_FORMS = {form: s.name for s in SUPERLATIVES for form in s.forms}
_WORD = "|".join(form for s in SUPERLATIVES if s.of_place for form in s.forms)
_DEEP = "|".join(form for s in SUPERLATIVES if s.name in ("front", "back") for form in s.forms)
_MORE = rf"(?:[ -](?:hand |row )?(?:to the |far |and )?(?:{_WORD})(?:[ -]?most)?)"
_PLACE = rf"(?:(?:far|very|extreme|furthest|farthest) )*(?:{_WORD})(?:[ -]?most)?{_MORE}?"
_SIDE = rf"(?:(?:[ -]hand| - hand)? (?:side|corner|edge|end|part|half|row|{PICTURES}))?"
_SCENE = rf"(?: (?:of|in) (?:the |this |that |an? )?(?:\w+ )?(?:{SCENES}))?"
_CLAUSE_END = (
    r"(?=$|[ ]?[,.;]| (?:in|on|at|by|with|without|and|near|behind|next|that|who|which|whose|like|while|"
    rf"is|are|has|{VERBS}|\w+ing|\w+ed)\b)"
)
_THE = "(?:(?:the|it|its) )*"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:(?:furthest|farthest|closest|nearest|far|way|off) )?(?:(?:off )?(?:in|on|at|to)|from|near|nearest|"
        rf"closest to|all the way in) {_THE}{_PLACE}{_SIDE}{_SCENE}"
        rf"{_CLAUSE_END}",
        rf"\b(?:(?:in|on|at|to|from) )?(?:the )?(?:{_WORD})[ -]?most\b{_SIDE}{_SCENE}",
        rf"^(?:(?:the|an?) )?(?:(?:two|three) )?{_PLACE}{_SIDE}{_SCENE}(?:$|(?= (?!(?:{NOT_PLACED_BEFORE})\b)\w))",
        rf"(?<=\w ){_PLACE}{_SIDE}{_SCENE}$",
        rf"\bin {_THE}(?:\w+ ){{0,2}}(?:background|foreground)(?: of (?:the |an? )?\w+)?",
        r"\b(?:largest|biggest|tallest|smallest|tiniest|shortest)\b(?: (?:of|in) (?:the )?"
        rf"(?:two|three|four|all|{SCENES}))?",
    )
)
_THAT_IS = r"(?:(?:that|which|who)(?: is|'s| ' s| are)? )?(?:very |really |the )*"
_TO_VIEWER = rf"(?: (?:to|of|by))? (?:the )?(?:{VIEWER}|picture taker|front|foreground)\b"
_DEPTHS = {
    "front": re.compile(
        rf" ?\b{_THAT_IS}(?:(?:closest|nearest|closer|nearer|near|close){_TO_VIEWER}|(?:closest|nearest)(?=$| in the ))"
        rf"|\bin (?:the )?front of (?:the )?(?:{PICTURES}|{VIEWER})\b"
        r"|^(?:the |two |three )*(?:closest|nearest)\b(?! to\b)(?= \w)"
    ),
    "back": re.compile(
        rf" ?\b{_THAT_IS}(?:(?:farthest|furthest|farther|further|far)(?: away)?(?: back)? from (?:the )?"
        rf"(?:{VIEWER}|front|foreground)\b|(?:farthest|furthest)(?: away| back)?$|in the distance\b)"
        r"|^(?:the )?(?:farthest|furthest)\b(?! (?:to|from|left|right|away|back|top|bottom)\b)(?= \w)"
    ),
}
_NTH = rf"(?:the )?\b(?P<nth>{'|'.join(ORDINALS)})"
_ENDS = "|".join(form for s in SUPERLATIVES if s.of_place and s.name != "middle" for form in s.forms)
_SIZES = "|".join(form for s in SUPERLATIVES if not s.of_place for form in s.forms)
_COUNTED_FROM = re.compile(
    rf"(?:at )?{_NTH}(?: in)?(?P<noun>(?: (?!from\b)[\w-]+){{0,4}}?)(?: in)? from (?:the )?(?:far )?(?P<end>{_ENDS})"
    rf"(?:[ -]hand)?(?: side)?{_SCENE}\b"
)
_COUNTED_BY_SIZE = re.compile(rf"{_NTH}(?: to(?: the)?)?[ -](?P<end>{_SIZES})\b")
_COUNTED = re.compile(r"\b(?:second|third|fourth|fifth|sixth|2nd|3rd|[4-9]th|next)\b")
_FACING = re.compile(
    r"\b(?:(?:fac|look|lean|point|turn|head|mov|walk|go|bend|tilt|angl|gaz|star|swing|reach|runn|slant)(?:ing|ed)"
    r"|faces|looks|leans|points|turns|walks|goes|bends|bent|tilts|gazes|stares)"
    r"(?: (?:to|towards?|off|away|down|up|back|straight|slightly|over|out|more|directly|the|his|her|its|their|head|"
    r"from))*$"
)
_MOVING = re.compile(r"\b(?:walk|mov|go|swing|reach|runn|head)(?:ing|ed|s)$")
"""Verbs of motion: "walking on the left" is a place, "walking to the left" is not."""
_OWNED = re.compile(r"(?:\b(?:his|her|its|their|your|my|an?|the|of)|'s?)$")
_REMAINING = re.compile(r"\b(?:only|last|one)(?: \w+)?$")
_COMPOUND = re.compile(r"\b(?:bikini|pajama|pyjama|suit|bell|entertainment|shopping|media|city)$")
_GARNISH = re.compile(r"\b(?:with|wearing|holding|has|have|in an?)\b")
_OF_A_THING = re.compile(
    r"(?:side|corner|edge|end|part|half|halves|portion|section)? ?of "
    rf"(?!(?:the |this |that |an? )?(?:\w+ )?(?:{SCENES})\b)"
)
_DISPLAYED = re.compile(r"\b(?:with|displayed|printed|written|painted|plugged|says|saying)\b")
_ON_SCENERY = re.compile(
    rf" (?:on|in) (?:(?:the|an?|some) )?(?:(?!of\b|on\b|in\b|and\b|with\b)[\w-]+ )??(?:side of )?(?:the )?"
    rf"(?:{SCENERY})(?: (?:floor|ground|road|court|field))?{_CLAUSE_END}"
)


@dataclass(frozen=True)
class Placed:
    """A phrase whose places were taken out."""

    words: str
    """Remaining words."""
    superlatives: tuple[str, ...] = ()
    """Names of the superlatives, in the order of :data:`~vg_gym.language.vocabulary.SUPERLATIVES`."""
    ordinal: tuple[int, str] | None = None
    """Number and the name of the end from which it counts."""


def take_out_places(text: str) -> Placed:
    """Separate the superlatives and the ordinal of a lower-case phrase from its other words.

    >>> take_out_places("the cup in the top left corner")
    Placed(words='the cup', superlatives=('left', 'top'), ordinal=None)
    >>> take_out_places("second giraffe from the right")
    Placed(words='giraffe', superlatives=(), ordinal=(2, 'right'))
    """
    text, ordinal = _without_ordinal(text)
    names: set[str] = set()

    def take(match: re.Match[str]) -> str:
        before = match.string[: match.start()].rstrip()
        if _is_misread(match.group().strip(), before, match.string[match.end() :].lstrip()):
            return match.group()
        names.update(_FORMS[form] for form in re.findall(rf"{'|'.join(_FORMS)}", match.group()))
        return " "

    for name, depth in _DEPTHS.items():
        remaining = depth.sub(" ", text)
        names.update([name] if remaining != text else [])
        text = " ".join(remaining.split())
    for pattern in _PATTERNS:
        text = " ".join(pattern.sub(take, text).split())
    return Placed(text, tuple(s.name for s in SUPERLATIVES if s.name in names), ordinal)


def without_scenery(text: str) -> str:
    """Remove the ground or room that a phrase mentions after its first word: "man kneeling on the floor".

    >>> without_scenery("a dog on the beach with a ball")
    'a dog with a ball'
    """
    return " ".join(_ON_SCENERY.sub(" ", text).split())


def _without_ordinal(text: str) -> tuple[str, tuple[int, str] | None]:
    match = _COUNTED_FROM.search(text) or _COUNTED_BY_SIZE.search(text)
    if match is None:
        return text, None
    number = next(i for i, forms in enumerate(ORDINALS, 1) if match["nth"] in forms.split("|"))
    noun = match.groupdict().get("noun") or ""
    words = f"{text[: match.start()]} {noun} {text[match.end() :]}"
    return " ".join(words.split()), (number, _FORMS[match["end"]])


def _is_misread(place: str, before: str, after: str) -> bool:
    """Return whether words that look like a superlative are not one, judged by the text around them."""
    if _COUNTED.search(before):
        return True
    if not re.search(_WORD, place):
        return False
    if re.search(rf"\b(?:{_DEEP})", place) and _is_part(place, before, after):
        return True
    if (_FACING.search(before) and not (_MOVING.search(before) and re.match("on|in|at", place))) or (
        not before and _OF_A_THING.match(after)
    ):
        return True
    upright = not re.search("left|right", place) and re.search("top|upper|bottom|lower", place)
    if upright and not re.search(SCENES, place) and _GARNISH.search(before):
        return True
    if not before or re.match(r"(?:off|in|on|at|to|from|nearest|near|closest|all)\b", place):
        return False
    return bool(place == "top" or _OWNED.search(before) or _COMPOUND.search(before) or _REMAINING.search(before))


def _is_part(place: str, before: str, after: str) -> bool:
    """Return whether a front or back is a part of something or a direction, not a place in the picture."""
    if re.search("background|foreground|most", place) or re.search(rf"\b(?:{PICTURES}|row|line|group|pack)\b", place):
        return False
    sided = re.search("left|right|corner", place) is not None
    if re.match(r"(?:off|on|to|from|near|nearest|closest)\b", place):
        return not sided
    if re.match(r"(?:in|at|all)\b", place):
        return _DISPLAYED.search(before) is not None and not sided
    return re.match(rf"(?:{PARTS})\b", after) is not None or (bool(before) and not sided)
