"""What a style asks with is read again by it."""

import json

import pytest
from every_style import EVERY
from hypothesis import given
from hypothesis import strategies as st

from iapo.styles import (
    AnswerTags,
    BeforeAnswer,
    Boxed,
    CompletionStyle,
    FirstThatFits,
    Hashes,
    JsonField,
    LastLine,
    LastOf,
    Phrase,
    ReasoningTags,
)


@given(
    st.sampled_from([*EVERY[:5], LastLine()]),
    st.sampled_from(["7", "-7", "\\frac{1}{2}", "(3, 4)", 'a "b" \\ c', "x {y}"]),
)
def test_what_is_asked_for_is_read_again(answer, wanted):
    for reasoning in (ReasoningTags(), BeforeAnswer()):
        style = CompletionStyle(reasoning, answer)
        text = "let us see" + style.asked(wanted).text
        assert style.answer_in(text) == wanted
        reading = style.read(text)
        assert text[reading.reasoning] == "let us see"
        assert text[reading.exit].rstrip() == style.asked(wanted).text.rstrip()
        other = style.replaced("now: ", "!")
        assert other.asked("3").text == "now: 3!"
        assert other.read(text) == reading


@given(
    st.sampled_from([JsonField(), JsonField(quoted=False), FirstThatFits((JsonField(), Boxed()))]),
    st.text(max_size=20)
    | st.lists(st.sampled_from(["\\", '"', "\n", "n", "/", "u0041", "\x00", "}", "[", ","])).map("".join),
)
def test_any_text_is_read_again_from_json(answer, wanted):
    style = CompletionStyle(BeforeAnswer(), answer)
    asked = style.asked(wanted)
    assert style.answer_in("1+2 " + asked.text) == wanted
    if answer != JsonField(quoted=False):
        assert json.loads(asked.text) == {"answer": wanted}


@pytest.mark.parametrize("value", ["72", "-1/2", "x + 1", "[1, 2]"])
def test_a_value_without_quotes_gets_them_only_where_it_needs_them(value):
    answer = JsonField(quoted=False)
    assert answer.write(value) == value
    for needs in ("", "null", f"{value}}}", f"{value}, 3"):
        assert answer.write(needs) == json.dumps(needs)


SIGNS = [
    "7",
    "x",
    '"',
    "'",
    "\\frac",
    "{1}",
    "{2 3}",
    r"\{",
    r"\}",
    "\\\\",
    "(",
    ")",
    "[",
    "]",
    ",",
    "-",
    "/",
    "\t8",
    "é",
    "<",
]


@given(
    st.sampled_from([*EVERY, LastOf((Hashes(), Phrase())), JsonField(quoted=False), AnswerTags("=> {", "}.")]),
    st.lists(st.sampled_from(SIGNS), min_size=1, max_size=12).map("".join).map(str.strip),
)
def test_every_style_reads_what_it_asks_with(answer, wanted):
    style = CompletionStyle(BeforeAnswer("\n"), answer)
    assert style.answer_in("1+2" + style.asked(wanted).text) == wanted


@pytest.mark.parametrize("answer", [Hashes(), Phrase(), LastLine(), LastOf((Hashes(), Phrase()))])
def test_what_stands_in_one_line_is_asked_for_in_one(answer):
    style = CompletionStyle(BeforeAnswer("\n"), answer)
    assert style.answer_in("1+2" + style.asked("7 \n\n 8").text) == "7 8"
