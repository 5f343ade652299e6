"""Separation of reasoning and answer in texts; reasoning that was cut off has an empty answer."""

from __future__ import annotations

import re

_NAMES = "think|thinking|thought|thoughts|reason|reasoning|rationale|analysis|reflection|scratchpad|seed:think|cot"
_OPEN = (
    rf"<\s*(?:{_NAMES})\b[^<>]*(?<!/)>|<\|(?:begin_of_thought|START_THINKING|thinking)\|>|◁think▷|\[THINK\]"
    r"|<\|channel>thought"
)
_CLOSE = rf"<\s*/\s*(?:{_NAMES})\s*>|<\|(?:end_of_thought|END_THINKING|/thinking)\|>|◁/think▷|\[/THINK\]|<channel\|>"
_MARKS = re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE})", re.IGNORECASE)
_ANSWERS = "answer|final_answer|final|solution|response|output"
_ANSWER = re.compile(
    rf"<({_ANSWERS})>(.*?)(?:</\1>|$)|<\|begin_of_(solution)\|>(.*?)(?:<\|end_of_solution\|>|$)",
    re.DOTALL | re.IGNORECASE,
)
_CHANNEL = re.compile(
    r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|channel)\|>|$)", re.DOTALL
)
_CHANNEL_WORDS = re.compile(r"^\s*analysis.*assistant\s*final", re.DOTALL)
"""Remains of channel names after special tokens were skipped."""


def answer_part(text: str) -> str:
    """Return the part of a text that is not reasoning, or its last ``<answer>`` if it has one.

    Text between tags such as ``<think>`` and ``</think>``, also nested, is reasoning. So is text before a closing tag
    that was opened in the prompt. A text that ends within its reasoning has an empty answer.

    >>> answer_part("<think>[1, 2, 3, 4]?</think><answer>[5, 6, 7, 8]</answer>")
    '[5, 6, 7, 8]'
    >>> answer_part("<think>[1, 2, 3, 4], or rather")
    ''
    """
    outside, depth = _outside_reasoning(text)
    if depth:
        return ""
    if answers := _ANSWER.findall(outside):
        return answers[-1][1] or answers[-1][3]
    return outside


def is_reasoning(text: str) -> bool:
    """Return True if a text, for instance a prompt, ends within reasoning that it opened.

    >>> is_reasoning("assistant: <think>"), is_reasoning("<think></think>")
    (True, False)
    """
    return _outside_reasoning(text)[1] > 0


def _outside_reasoning(text: str) -> tuple[str, int]:
    """Return the text outside of reasoning, and the number of levels of reasoning that are open at its end."""
    if "<|channel|>" in text:
        channels = _CHANNEL.findall(text)
        final = [message for name, message in channels if name == "final"]
        return (final[-1], 0) if final else ("", 1)
    text = _CHANNEL_WORDS.sub("", text)
    parts: list[str] = []
    depth, at = 0, 0
    for mark in _MARKS.finditer(text):
        if depth == 0:
            parts.append(text[at : mark.start()])
        if mark["open"]:
            depth += 1
        elif depth:
            depth -= 1
        else:  # the tag was opened in the prompt, so all text before it is reasoning
            parts = []
        at = mark.end()
    return "".join([*parts, text[at:]]), depth
