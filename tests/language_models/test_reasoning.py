"""What a text answers, and what it only thinks."""

import pytest

from vg_gym.language_models.reasoning import answer_part, is_reasoning


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a</think>b", "b"),
        ("<THINKING>a</THINKING >b", "b"),
        ("< think >a< / think >b", "b"),
        ('<reasoning time="3">a</reasoning>b', "b"),
        ("a</think>b", "b"),
        ("a</think>b</think>c", "c"),
        ("<think>a <think>b</think> c</think>d", "d"),
        ("<think/>a", "<think/>a"),
        ("a<think>b</think>c", "ac"),
        ("<think><answer>a</answer></think><answer>b</answer>", "b"),
        ("<think>a</think><answer>b", "b"),
        ("<answer>a</answer> and <answer>b", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "b"),
        ("analysis a assistantfinal b", " b"),
        ("no reasoning", "no reasoning"),
    ],
)
def test_reasoning_is_no_answer(text, answer):
    assert answer_part(text) == answer and not is_reasoning(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>a",
        "<think>a</thin",
        "<think>a <think>b</think> c",
        "<think>a <answer>b</answer>",
        "a <think>b",
        "<thinking>a",
        "<|channel|>analysis<|message|>a",
        "<|channel>thought\na",
        "[THINK]a",
    ],
)
def test_a_text_that_ends_within_its_reasoning_answers_nothing(text):
    assert answer_part(text) == "" and is_reasoning(text)
