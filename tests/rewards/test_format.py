"""Completions in the format and out of it."""

from hypothesis import example, given
from hypothesis import strategies as st

from iapo.rewards import ThinkAnswerFormat

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=50), st.sampled_from(["", "\n", "  "]))
def test_format_needs_every_tag(reasoning, gap):
    good = f"<think>{reasoning}\n</think>{gap}<answer>4</answer>{gap}"
    reward = ThinkAnswerFormat()
    assert reward(["q"], [good], [[1]]) == [1.0]
    assert ThinkAnswerFormat(opened_by_prompt=True)(["q"], [good.removeprefix("<think>")], [[1]]) == [1.0]
    assert ThinkAnswerFormat(opened_by_prompt=True)(["q"], [good], [[1]]) == [0.0]
    broken = [good.replace(tag, "", 1) for tag in TAGS]
    broken += [good + "x", "x" + good, good + good, good.replace("</think>", "</think>x")]
    assert reward(["q"] * 8, broken, [[1]] * 8) == [0.0] * 8


@example([*TAGS])
@example([*TAGS[:3], "a", TAGS[3]])
@given(st.lists(st.sampled_from([*TAGS, "a", "\n"]), max_size=8))
def test_format_agrees_with_a_reading_piece_by_piece(pieces):
    kept = [piece for piece in pieces if piece in TAGS]
    blank = answered = True
    if kept == list(TAGS):
        outside = (pieces[: pieces.index(TAGS[0])], pieces[pieces.index(TAGS[1]) : pieces.index(TAGS[2])])
        blank = not any("a" in part for part in (*outside, pieces[pieces.index(TAGS[3]) :]))
        answered = "a" in pieces[pieces.index(TAGS[2]) : pieces.index(TAGS[3])]
    expected = float(kept == list(TAGS) and blank and answered)
    assert ThinkAnswerFormat()(["q"], ["".join(pieces)], [[1]]) == [expected]


def test_format_allows_the_given_end_of_sequence():
    text = "<think>a</think><answer>4</answer>"
    texts = [text, text + "<|im_end|>", text + "\n<|im_end|>\n", text + "<|im_end|><|im_end|>", text + "</s>"]
    assert ThinkAnswerFormat(endings=("<|im_end|>",))(["q"] * 5, texts, [[1]] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert ThinkAnswerFormat()(["q"] * 2, texts[:2], [[1]] * 2) == [1.0, 0.0]
