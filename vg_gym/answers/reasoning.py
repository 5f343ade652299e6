"""The answer in a text that reasons first: reasoning is no answer, and reasoning that was cut off has none."""

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
"""What is left of channels where special tokens are skipped."""


def answer_part(text: str) -> str:
    """What a text answers: what is not reasoning, and of that the last ``<answer>`` where there is one.

    Reasoning is what is between tags such as ``<think>`` and ``</think>``, also nested, and what is before a closing
    tag that was opened in the prompt. A text that ends within its reasoning answers nothing.

    >>> answer_part("<think>[1, 2, 3, 4]?</think><answer>[5, 6, 7, 8]</answer>")
    '[5, 6, 7, 8]'
    >>> answer_part("<think>[1, 2, 3, 4], or rather")
    ''
    """
    spoken, depth = _spoken(text)
    if depth:
        return ""
    if answers := _ANSWER.findall(spoken):
        return answers[-1][1] or answers[-1][3]
    return spoken


def is_reasoning(text: str) -> bool:
    """Whether a text, for instance a prompt, ends within reasoning that it opened.

    >>> is_reasoning("assistant: <think>"), is_reasoning("<think></think>")
    (True, False)
    """
    return _spoken(text)[1] > 0


def _spoken(text: str) -> tuple[str, int]:
    """What is outside of reasoning, and how many levels of it are open at the end."""
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
        else:  # opened in the prompt: all before it is reasoning
            parts = []
        at = mark.end()
    return "".join([*parts, text[at:]]), depth
