"""Answers read out of any text."""

from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards import ThinkAnswerFormat
from iapo.rewards.text import completion_text, normalize, reference_answer

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@given(st.text(max_size=300) | st.lists(st.sampled_from([*TAGS, "\\boxed{", "{", "}", "####", "7", "\n"])).map("".join))
def test_text_functions_never_raise(text):
    assert reference_answer(text) is not None
    assert ThinkAnswerFormat()(["q"], [text], [[1]])[0] in (0.0, 1.0)


@given(st.text(max_size=100))
def test_normalizing_twice_changes_nothing(text):
    once = normalize(text)
    assert normalize(once) == once
    assert once.isprintable()


def test_a_completion_is_a_text_or_a_chat():
    assert completion_text("a") == "a"
    assert completion_text([]) == ""
    assert completion_text([{"role": "assistant", "content": None}]) == ""
    assert completion_text([{"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}]) == "a"
    assert completion_text([{"content": "a"}]) == "a"
