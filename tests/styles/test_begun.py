"""Answers of completions that were cut in the middle of them: opened and not closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards import ExactAnswer, MathAnswer
from iapo.styles import (
    USUAL_STYLE,
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    FirstThatFits,
    Hashes,
    JsonField,
    LastLine,
    Phrase,
)

CLOSED = (AnswerTags(), AnswerTags("[", "]"), Boxed(), JsonField(), FirstThatFits((Boxed(), AnswerTags())))
ANSWERS = st.text("0123456789 abc", min_size=1).filter(str.strip)


@given(st.sampled_from(CLOSED), ANSWERS, st.data())
def test_an_answer_that_is_cut_behind_its_opening_is_the_one_begun(answer_style, answer, data):
    style = CompletionStyle(answer=answer_style)
    whole = "<think>so" + "".join(style.asked(answer))
    cut = whole[: len(whole) - data.draw(st.integers(1, len(style.closing)))]
    found = style.answer_in(cut)
    assert (style.begun_in(cut) if found is None else found) == answer
    assert style.begun_in(whole) is None


@pytest.mark.parametrize("answer", [*CLOSED, Hashes(), Phrase(), LastLine(), USUAL_STYLE.answer], ids=repr)
@pytest.mark.parametrize(
    "text", ["", "<think>so", "<think>so</think>", "x = 72\nThe answer is", "<think>so</think><ans"]
)
def test_what_opens_no_answer_has_begun_none(answer, text):
    assert CompletionStyle(BeforeAnswer(), answer).begun_in(text) is None


def test_open_braces_in_a_box_are_closed():
    style = CompletionStyle(answer=Boxed())
    assert style.begun_in(r"</think>\boxed{\frac{1}{2") == r"\frac{1}{2}"
    assert style.begun_in(r"</think>\boxed{\frac{1}{2}") == r"\frac{1}{2}"


@pytest.mark.parametrize("kind", [MathAnswer, ExactAnswer])
@pytest.mark.parametrize(
    "style", [None, CompletionStyle(), CompletionStyle(answer=Boxed())], ids=["alone", "tags", "box"]
)
def test_a_lenient_reward_counts_the_answer_that_a_cut_completion_has_begun(kind, style):
    opening = "\\boxed{" if style is not None and style.answer == Boxed() else "<answer>"
    for lenient, wanted in ((True, [1.0, 0.0]), (False, [0.0, 0.0])):
        reward = kind(lenient=lenient) if style is None else kind(lenient=lenient).in_style(style)
        texts = [f"<think>so</think>{opening}{answer}" for answer in ("72", "71")]
        assert reward(["q"] * 2, texts, [[1]] * 2, answer=["72"] * 2, completion_finished=[False] * 2) == wanted
