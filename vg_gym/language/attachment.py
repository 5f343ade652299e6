"""Decision whether words that look like a relation place the target relative to another object.

"A man in a red shirt", "a kite held by a boy", "a hat with stripes on it" and "typing on a laptop" contain "in", "by"
and "on" without saying where the target is. The rules look at the anchor, at the head, and at the classes of
:mod:`vg_gym.language.word_classes`; none needs a syntax tree.
"""

from __future__ import annotations

import re

from vg_gym.language import word_classes as classes
from vg_gym.language.class_names import PERSON
from vg_gym.language.nouns import head_noun, noun_phrase

OVER_ITSELF = re.compile(
    r"\b(?:ben[dt]|lean|reach|look|jump|hunch|step|climb|stoop|hold|go|fly|swing|hover)\w*(?: up| down)?$"
    r"|^(?:(?:an?|the) )?left$"
)
"""End of a head before "over" that describes an action, not a place; "left over" describes food."""
OF_AN_AGENT = re.compile(
    r"\b(?:\w{3,}(?<!e)ed|used|worn|held|led|made|drawn|shown|thrown|flown|ridden|eaten|driven|taken|written|hidden"
    r"|cut|hit|built|caught|fed|blown|torn|bitten|side)(?: on| at)?$"
)
"""End of a head before "by" that describes what somebody does to the object: "ridden by a woman"."""
PLACED = re.compile(r"\b(?:parked|located|seated|placed|positioned|situated|planted|stationed|stopped)$")
"""Verbs in "-ed" after which "by" is a relation."""
DIRECTED = re.compile(
    r"\b(?:look|zoom|star|gaz|glanc|peer|smil|point|swing|throw|wav|bark|laugh|aim|kick|yell|peek|sniff|lick|nibbl|grab"
    r"|head)(?:s|ed|ing|es)?(?: \w+)?$"
)
"""Verbs before "at", "behind" or "over" that direct a look or a deed: "looking at a table"."""
FACING = re.compile(r"\b(?:look|star|gaz|fac|point|turn)(?:s|es|ed|ing)$")
"""Verbs before "to the left of" that turn somebody that way."""
NEGATED = re.compile(r"(?:\bnot|\bn ?' ?t)(?: \w+)?$")
OF_ANOTHER = re.compile(
    r"\b(?:to|at|with|for|from|watching|helping|behind) (?:an?|the|another) [\w ]+ (?:who|that|which)\b"
)
"""Relative clause of another object than the target: "handing a plate to a man who is sitting on"."""


def relates(name: str, words: str, head: str, anchor: str) -> bool:
    """Return whether a relation holds between the target and another object.

    Args:
        name: name of the relation.
        words: the words that express it.
        head: lower-case text before it.
        anchor: lower-case text after it.

    >>> relates("on", "on", "a hat with stripes", "it"), relates("on", "on", "a cat", "a red chair")
    (False, True)
    """
    noun = head_noun(anchor)
    if not _is_object(name, anchor, noun) or NEGATED.search(head) or OF_ANOTHER.search(head) or _OWN_PART.search(head):
        return False
    if words == "in the front of" and classes.is_one_of(f"{classes.SCENES}|{classes.CONTAINERS}", noun):
        return False
    if re.search(r"\bfrom(?: the)?(?: far)?$", head):
        return False
    if name in ("left of", "right of") and FACING.search(head):
        return False
    rule = _RULES.get(words, _RULES.get(name))
    return rule is None or rule(head, anchor, noun)


_TOUCHING = ("on", "inside", "above", "below")
_BARE = ("a", "an", "the", "this", "that", "these", "those", "his", "her", "its", "their")
_OWN_PART = re.compile(
    rf"\b(?:with|and) (?:(?:his|her|its|their|it ' s)(?: \w+){{0,3}} (?:{classes.BODY})"
    r"|(?:(?:an?|one|both|two|the) )?(?:hands?|foot|feet|arms?|legs?|paws?|knees?|elbows?|head))(?: \w+)?$"
)
"""Part of the target's own body: "with his arms on the table", "with a foot on the ball"."""


def is_scenery(anchor: str) -> bool:
    """Return whether an anchor names surroundings without a box of their own: "the road"."""
    return classes.is_one_of(classes.SCENERY, head_noun(anchor))


def _is_object(name: str, anchor: str, noun: str) -> bool:
    """Return whether an anchor can be another object, which has a box of its own."""
    if (
        not noun
        or classes.begins(classes.PRONOUNS, anchor)
        or classes.begins("(?:her|his|its)$|one another|each other", anchor)
    ):
        return False
    if classes.is_one_of(classes.VIEWER, noun) or is_scenery(anchor):
        return False
    if classes.is_one_of(classes.PLACE_NOUNS, noun) and not classes.ends(classes.TOPS, noun_phrase(anchor)):
        return False
    if name in ("left of", "right of", "in front of", "behind") and classes.is_one_of(classes.SCENES, noun):
        counted = classes.begins("two|three|four|others|another", noun)
        return (counted or name in ("in front of", "behind")) and not classes.is_one_of(classes.PICTURES, noun)
    if noun in _BARE or (name in _TOUCHING and classes.begins("its|it ' s", anchor)):
        return False
    worn = f"{classes.BODY}|{classes.GARMENTS}" if name in _TOUCHING else classes.BODY
    is_worn = classes.is_one_of(worn, noun) and (name in _TOUCHING or classes.begins("his|her|its|their", anchor))
    return not is_worn or "'s" in noun_phrase(anchor) or re.search(r" of \w", anchor) is not None


def _attached(head: str, noun: str) -> bool:
    """Return whether what follows a head belongs to the target, and not to something that the target holds or has."""
    somebody = classes.is_one_of(PERSON, head_noun(head))
    if somebody and classes.is_one_of(classes.SEATS, noun):
        return True
    last = list(re.finditer(rf"\b(?:{classes.POSSESSING})\b", head))
    if not last or classes.ends(classes.POSTURES, head):
        return True
    tail = head[last[-1].end() :].strip()
    if somebody and classes.is_one_of(f"{PERSON}|other|another", head_noun(tail)):
        return True
    return classes.is_one_of(classes.GARMENTS, head_noun(tail))


def _over(head: str, anchor: str, noun: str) -> bool:
    return not OVER_ITSELF.search(head) and not re.match("(?:his|her|its|their) ", anchor) and _attached(head, noun)


def _on(head: str, anchor: str, noun: str) -> bool:
    if classes.is_one_of(classes.DEVICES, noun) and classes.is_one_of(PERSON, head_noun(head)):
        return False
    return _attached(head, noun)


def _in(head: str, anchor: str, noun: str) -> bool:
    return classes.is_one_of(classes.CONTAINERS, noun) and not DIRECTED.search(head) and _attached(head, noun)


def _by(head: str, anchor: str, noun: str) -> bool:
    return not OF_AN_AGENT.search(head) or PLACED.search(head) is not None


def _at(head: str, anchor: str, noun: str) -> bool:
    return classes.is_one_of(classes.FURNITURE, noun) and not DIRECTED.search(head)


_RULES = {
    "above": _over, "below": _over, "on": _on, "inside": _on, "in": _in, "by": _by, "at": _at,
}  # fmt: skip
"""Words or name of a relation -> rule (head, anchor, noun of the anchor)."""
