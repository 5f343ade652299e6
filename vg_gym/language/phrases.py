"""The noun phrases of a referring expression, by a small documented rule.

The expression is cut at the first relation (a preposition or a participle from the list below): what stands before is
the head, what stands after is the anchor. "the small cross left of the blue heart" has the head "the small cross" and
the anchor "the blue heart"; "man in a red shirt" has "man" and "a red shirt".
"""

from __future__ import annotations

import re

_RELATIONS = (
    r"(?:to the )?(?:left|right) of|on the (?:left|right) of|in front of|on top of|"
    r"next to|close to|nearest to|closest to|"
    r"above|below|under|underneath|behind|beside|near|between|inside|over|in|on|at|with|by|of|"
    r"wearing|holding|sitting on|standing on|riding|eating|carrying|facing"
)
_CUT = re.compile(rf"^(?P<head>.+?)\s+(?:{_RELATIONS})\s+(?P<anchor>.+)$", re.IGNORECASE)


def noun_phrases(expression: str) -> tuple[str, str]:
    """(head, anchor) of an expression; the anchor is empty where there is no relation.

    >>> noun_phrases("the small cross left of the blue heart")
    ('the small cross', 'the blue heart')
    >>> noun_phrases("the largest star")
    ('the largest star', '')
    """
    match = _CUT.match(expression.strip())
    return (match["head"], match["anchor"]) if match else (expression.strip(), "")
