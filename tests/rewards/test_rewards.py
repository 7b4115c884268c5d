"""Answers, formats and the scores of a batch, on friendly and hostile text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo.rewards import MathAnswer, ReasoningGymAnswer, ThinkAnswerFormat, check_columns, score
from iapo.rewards.text import last_boxed, normalise, reference_answer

EQUAL = [
    ("72", "72"),
    ("072", "72"),
    ("1/2", r"\frac{1}{2}"),
    ("0.5", r"\frac{1}{2}"),
    (r"\frac{2}{4}", "1/2"),
    (r"(1, 2)", "(1,2)"),
    (r"\{2, 1\}", r"\{1,2\}"),
    (r"2\sqrt{2}", r"\sqrt{8}"),
    ("x^2 + 2x + 1", "(x+1)^2"),
    ("1,000", "1000"),
    ("٣٥", "35"),
    ("18\x00", "18"),
    ("72", "48/2 = <<48/2=24>>24, 24+48 = 72 #### 72"),
    ("1072", "so it is #### 1,072"),
]
DIFFERENT = [("71", "72"), ("7", "72"), ("1/3", r"\frac{1}{2}"), ("", "3"), ("x", "y"), ("(2,1)", "(1,2)")]


@pytest.fixture(scope="module")
def maths():
    reward = MathAnswer(time_limit=2.0)
    yield reward
    reward._worker.close()


def judge(reward, completion, reference):
    return reward(["q"], [completion], [[1]], answer=[reference])[0]


@pytest.mark.parametrize(("answer", "reference"), EQUAL)
def test_equal_answers(maths, answer, reference):
    assert judge(maths, f"<think>so</think><answer>{answer}</answer>", reference) == 1.0


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_different_answers(maths, answer, reference):
    assert judge(maths, f"<think>so</think><answer>{answer}</answer>", reference) == 0.0


def test_where_the_answer_is_looked_for(maths):
    assert judge(maths, "<answer>1</answer> no: <answer>2</answer>", "2") == 1.0
    assert judge(maths, r"thus \boxed{\frac{1}{2}}", "0.5") == 1.0
    assert judge(maths, "<think>3 4 5</think> The final answer is 12.", "12") == 1.0
    assert judge(MathAnswer(tagged_only=True), "The final answer is 12.", "12") == 0.0
    assert judge(maths, [{"role": "assistant", "content": "<answer>2</answer>"}], "2") == 1.0


def test_answers_that_never_end_are_wrong_and_the_next_one_is_judged(maths):
    hostile = ["9^{9^{9^9}}", "100000000!", "9" * 1900, "(" * 1500, "\ud800", "\\frac{" * 300, "7" * 2_000_000]
    texts = [f"<answer>{answer}</answer>" for answer in hostile]
    references = ["3/7"] * len(texts)
    assert maths(["q"] * len(texts), texts, [[1]] * len(texts), answer=references) == [0.0] * len(texts)
    assert judge(maths, "<answer>0.5</answer>", "1/2") == 1.0


def test_a_reference_that_cannot_be_read_judges_nobody(maths):
    assert judge(maths, "<answer>3</answer>", " ") is None


@given(st.text(max_size=300))
def test_text_functions_never_raise(text):
    normalise(text)
    last_boxed(text)
    reference_answer(text)
    assert ThinkAnswerFormat()(["q"], [text], [[1]])[0] in (0.0, 1.0)


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=50), st.sampled_from(["", "\n", "  "]))
def test_format_accepts_any_reasoning_and_refuses_any_missing_tag(reasoning, gap):
    good = f"<think>{reasoning}\n</think>{gap}<answer>4</answer>{gap}"
    reward = ThinkAnswerFormat()
    assert reward(["q"], [good], [[1]]) == [1.0]
    assert ThinkAnswerFormat(opened_by_prompt=True)(["q"], [good.removeprefix("<think>")], [[1]]) == [1.0]
    broken = [good.replace(tag, "", 1) for tag in ("<think>", "</think>", "<answer>", "</answer>")]
    broken += [good + "x", "x" + good, good + good]
    assert reward(["q"] * 7, broken, [[1]] * 7) == [0.0] * 7


def test_reasoning_gym_scores_its_own_entries():
    gym = pytest.importorskip("reasoning_gym")
    entry = gym.create_dataset("basic_arithmetic", size=1, seed=1)[0]
    texts = [f"<answer>{entry['answer']}</answer>", "<answer>x</answer>", "none"]
    scores = ReasoningGymAnswer("basic_arithmetic")(["q"] * 3, texts, [[1]] * 3, entry=[json.dumps(entry)] * 3)
    assert scores[0] == 1.0
    assert scores[1] < 1.0
    assert scores[2] == 0.0


def run(rewards, count=2, **columns):
    return score(rewards, ["q"] * count, ["a"] * count, [[1]] * count, columns)


def test_scores_add_up_and_none_is_left_out():
    scores = run({"a": lambda **_: [1.0, 0.5], "b": lambda **_: [2, None]})
    assert scores.total.tolist() == [3.0, 0.5]
    assert scores.scored.tolist() == [True, False]
    assert scores.by_function == {"a": [1.0, 0.5], "b": [2.0, None]}


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0], r"'bad': got 1 scores, want a list of 2"),
        (None, r"'bad': got NoneType"),
        ([1.0, float("nan")], r"'bad': score at index 1 is nan"),
        ([1.0, float("inf")], r"index 1 is inf"),
        (["x", 1.0], r"index 0 is 'x'"),
    ],
)
def test_a_bad_score_is_named(returned, message):
    with pytest.raises(ValueError, match=message):
        run({"bad": lambda **_: returned})


def test_a_function_that_raises_is_named():
    def fails(**_):
        raise KeyError("x")

    with pytest.raises(RuntimeError, match=r"reward 'fails' raised KeyError"):
        run({"fails": fails})


def test_a_missing_column_is_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"'maths' needs the columns \['answer'\], the data has \['question'\]"):
        check_columns({"maths": MathAnswer()}, ["question"])
    with pytest.raises(ValueError, match="got none"):
        check_columns({}, ["question"])


@given(st.text(alphabet="0123456789^{}()\\frac!+-*/ ,.xπ", max_size=12))
@settings(max_examples=25, deadline=None)
def test_any_formula_gets_a_score(text):
    assert judge(MathAnswer(time_limit=0.001), f"<answer>{text}</answer>", text) == (1.0 if normalise(text) else None)
