"""Which answers count as equal, where they are looked for, and what hostile ones do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iapo.rewards import MathAnswer, check_references

EQUAL = [
    ("72", "72"),
    ("072", "72"),
    ("0", "00"),
    ("3.0", "3"),
    ("1/2", r"\frac{1}{2}"),
    ("0.5", r"\frac{1}{2}"),
    (r"\dfrac12", "0.5"),
    (r"\frac{2}{4}", "1/2"),
    ("1 1/2", "3/2"),
    ("−1½", "-1.5"),
    ("0.333333", "1/3"),
    (r"(1, 2)", "(1,2)"),
    (r"\{2, 1\}", r"\{1,2\}"),
    (r"2\sqrt{2}", r"\sqrt{8}"),
    ("x^2 + 2x + 1", "(x+1)^2"),
    ("x²", "x^2"),
    ("5²", "25"),
    (r"1.5 \times 10^3", "1500"),
    ("5!", "120"),
    ("50%", "0.5"),
    (r"50\%", "50"),
    ("1,000", "1000"),
    ("1000", "1,000"),
    ("72 dollars", "72"),
    ("$72.50 per hour", "72.5"),
    ("$72$", "72"),
    (r"\boxed{72}", "72"),
    ("18 km", "18"),
    ("The answer is 72.", "72"),
    ("x = 72", "72"),
    ("48 + 24 = 72", "72"),
    ("5", "5 apples"),
    ("monday.", "Monday"),
    ("Monday", r"\text{Monday}"),
    (r"\text{(C)}", "(C)"),
    ("٣٥", "35"),
    ("７２", "72"),
    ("−5", "-5"),
    ("18\x00", "18"),
    ("72", "48/2 = <<48/2=24>>24, 24+48 = 72\n#### 72"),
    ("1072", "so it is\n#### 1,072"),
    ("-3", "#### -3"),
    ("7", r"Thus $x = \boxed{7}$, as claimed in 3 steps."),
    ("3", 3),
    ("0.5", 0.5),
]
DIFFERENT = [
    ("71", "72"),
    ("7", "72"),
    ("0.33", "1/3"),
    ("1/3", r"\frac{1}{2}"),
    ("", "3"),
    ("x", "y"),
    ("(2,1)", "(1,2)"),
    ("[3,5]", "(3,5)"),
    ("-5", "5"),
    ("5²", "52"),
    ("10₂", "102"),
    ("1½", "11/2"),
    ("10^{2}", "10"),
    (r"\sqrt{5}", "5"),
    ("5!", "5"),
    ("5x", "5"),
    ("5 pi", "5"),
    ("log 5", "5"),
    ("not 5", "5"),
    ("5 6", "11"),
    ("yadnoM", "Monday"),
    ("no idea", "72"),
]
HEDGES = [
    "3, 5",
    "3 or 5",
    "3 and 5",
    "3 5",
    "3; 5",
    "3\n5",
    "1, 2, 3, 4, 5",
    "either 3, or it is 5",
    r"3 \text{ or } 5",
]


@pytest.fixture(scope="module")
def maths():
    reward = MathAnswer(time_limit=20.0)
    yield reward
    reward.close()


def grade(reward, completion, reference):
    return reward(["q"], [completion], [[1]], answer=[reference])[0]


def tagged(answer):
    return f"<think>so</think><answer>{answer}</answer>"


@pytest.mark.parametrize(("answer", "reference"), EQUAL)
def test_equal_answers(maths, answer, reference):
    assert grade(maths, tagged(answer), reference) == 1.0


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_different_answers(maths, answer, reference):
    assert grade(maths, tagged(answer), reference) == 0.0


@pytest.mark.parametrize("answer", HEDGES)
def test_naming_several_numbers_is_wrong(maths, answer):
    for reference in ("3", "5"):
        assert grade(maths, tagged(answer), reference) == 0.0


def test_where_the_answer_is_looked_for(maths):
    assert grade(maths, "<answer>1</answer> no: <answer>2</answer>", "2") == 1.0
    assert grade(maths, "<answer>1</answer> no: <answer>2</answer>", "1") == 0.0
    assert grade(maths, "<answer>1</answer> " + r"\boxed{2}", "1") == 1.0
    assert grade(maths, r"first \boxed{3}, thus \boxed{\frac{1}{2}}", "0.5") == 1.0
    assert grade(maths, "<think>3 4 5</think> The final answer is 12.", "12") == 1.0
    assert grade(maths, "<think>3 4 12</think> The final answer is unknown.", "12") == 0.0
    assert grade(maths, "I have no idea but there were 12.", "12") == 0.0
    assert grade(replace(maths, lenient=True), "I have no idea but there were 12.", "12") == 1.0
    chat = [
        {"role": "assistant", "content": [{"type": "text", "text": "<answer>2</answer>"}]},
        {"role": "tool", "content": "<answer>3</answer>"},
    ]
    assert grade(maths, chat, "2") == 1.0


def test_endless_answers_are_wrong_and_the_next_is_scored():
    # The first two take all the time or memory there is; the others are short work.
    hostile = [
        "9^{9^{9^9}}",
        "100000000!",
        "9" * 1900,
        "(" * 1500,
        "{" * 1990,
        "\ud800",
        "\\frac{" * 300,
        "7" * 2_000_000,
    ]
    hostile += ["<answer>" * 200_000, "\\boxed{" * 200_000, "1/0", "0/0", "\\infty-\\infty", "\x1b[2J\x00", "ﷺ" * 2000]
    texts = [tagged(answer) for answer in hostile] + ["<answer>" * 200_000, "\\boxed{" * 200_000, tagged("0.5")]
    columns = {"answer": ["3/7"] * (len(texts) - 1) + ["1/2"]}
    reward = MathAnswer(time_limit=0.5)
    with pytest.warns(UserWarning, match=r"computed longer than 0.5 s in comparing an answer, .* \(time_limit=0.5\)"):
        scores = reward(["q"] * len(texts), texts, [[1]] * len(texts), **columns)
    assert scores == [0.0] * (len(texts) - 1) + [1.0]
    reward.close()


def test_a_comparison_may_take_long_where_it_computes_little(tmp_path, monkeypatch):
    slow = tmp_path / "verify.py"
    slow.write_text("import time\ndef verify(item):\n    time.sleep(0.3)\n    return True\n")
    monkeypatch.setattr("iapo.rewards.maths.Path", lambda *_: slow.with_name("beside"))
    reward = MathAnswer(time_limit=0.1)
    assert grade(reward, tagged("\\sqrt{2}"), "2^{1/2}") == 1.0
    reward.close()


@pytest.mark.parametrize("reference", [" ", None, "####", "9" * 2001, "2 + (", float("nan"), {}])
def test_an_unreadable_reference_scores_nobody(maths, reference):
    completions = [tagged("3"), "no answer at all", tagged(reference), tagged("")]
    answers = {"answer": [reference] * 4}
    assert maths(["q"] * 4, completions, [[1]] * 4, **answers) == [None] * 4


def test_an_unreadable_reference_leaves_the_others_scored(maths):
    completions, answers = [tagged("3"), tagged("3"), "none"], ["2 + (", "6/2", "2 + ("]
    assert maths(["q"] * 3, completions, [[1]] * 3, answer=answers) == [None, 1.0, None]


def test_plain_comparisons_start_no_process():
    reward = MathAnswer()
    texts = [tagged("72"), tagged("7 2/3 x"), tagged("Friday"), tagged("073"), "x" * 10, tagged("9" * 3000)]
    references = ["#### 72", "7 2/3 x", "Monday", "72", "72", "72"]
    texts[4] = "<answer></answer>"
    assert reward(["q"] * 6, texts, [[1]] * 6, answer=references) == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert reward._worker._process is None


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("iapo.ops.extras.find_spec", lambda name: None)
    assert grade(MathAnswer(), tagged("1/2"), "0.5") == 1.0
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[train\]"):
        grade(MathAnswer(), tagged("\\sqrt{2}"), "0.5")


@pytest.mark.parametrize("arguments", [{"longest": 0}, {"time_limit": 0}])
def test_limits_must_be_positive(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MathAnswer(**arguments)


FORMULAS = st.text(alphabet="0123456789{}()\\frac+-*/ ,.xπ½²%$=|", max_size=12)


@given(FORMULAS, FORMULAS)
@settings(max_examples=60, deadline=None)
def test_any_formula_gets_a_score(maths, text, reference):
    assert grade(maths, tagged(text), reference) in (0.0, 1.0, None)


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_score(maths, text):
    assert grade(maths, text, "3/7") in (0.0, 1.0)
    assert grade(maths, tagged(text), "3/7") in (0.0, 1.0)


@given(st.integers(-(10**9), 10**9))
@settings(max_examples=40, deadline=None)
def test_numbers_equal_their_other_spellings_only(maths, number):
    spelled = [f"{number:,}", f"{number}.0", f"{2 * number}/2", f"${number}$"]
    grades = maths(["q"] * 4, [tagged(text) for text in spelled], [[1]] * 4, answer=[str(number)] * 4)
    assert grades == [1.0] * 4
    assert maths(["q"] * 4, [tagged(text) for text in spelled], [[1]] * 4, answer=[f"{number + 1}"] * 4) == [0.0] * 4


@pytest.mark.parametrize(
    ("text", "reference", "grade_"),
    [
        ("</think> #### 72", "72", 1.0),
        ("</think> so it is\n#### 1,072\nBye.", "1072", 1.0),
        ("</think> The answer is negative 5.", "-5", 1.0),
        ("</think> The answer is negative 5.", "5", 0.0),
        ("</think> Final answer: more than 5", "5", 0.0),
        ("</think> He sold more than 5.", "5", 0.0),
        ("</think> Answer:\n72", "72", 1.0),
        ("</think> We get $x = \\frac{1}{2}$ in the end, as shown.", "0.5", 0.0),
        ("</think>", "5", 0.0),
        ("</think> The answer is", "5", 0.0),
    ],
)
def test_answers_without_tags_are_read_in_the_same_way(maths, text, reference, grade_):
    assert grade(maths, text, reference) == grade_


def test_a_lenient_reward_finds_an_answer_that_nothing_marks(maths):
    text = r"</think> We get $x = \frac{1}{2}$ in the end, as shown."
    assert grade(replace(maths, lenient=True), text, "0.5") == 1.0
    assert grade(replace(maths, lenient=True), text, "0.25") == 0.0


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ({"ground_truth": "4"}, "4", "5"),
        ({"ground_truth": "4", "style": "rule"}, "4", "rule"),
        ({"target": 4}, "4", "target"),
        ({"a": "4", "b": "5"}, None, None),
        (["2", "two thirds of 3", "\\sqrt{4}"], "2.0", "3"),
        (["cat", "dog"], "Dog", "cow"),
        ([1, 2, 3], "[1, 2, 3]", "1"),
        (b"caf\xc3\xa9", "café", "tea"),
        (1e-05, "0.00001", "0.0001"),
        (1e16, "10000000000000000", "16"),
        (True, "true", "1"),
        (7, "seven", "8"),
        (None, None, None),
        (float("nan"), None, None),
        ({}, None, None),
        ([], None, None),
    ],
)
def test_references_of_any_type_are_read_or_found(maths, reference, right, wrong):
    assert maths.unreadable_rows([{"answer": reference}]) == ([0] if right is None else [])
    if right is not None:
        assert grade(maths, tagged(right), reference) == 1.0
        assert grade(maths, tagged(wrong), reference) == 0.0


def test_rows_with_unreadable_references_are_named(maths):
    answers = ["4", "2 + (", "\\frac{1}{2}", "", "Monday", None, "9" * 2001, "(1, \\sqrt{)", "2 + (", "10^{10^{10}}"]
    rows = [{"prompt": f"problem {index}", "answer": answer} for index, answer in enumerate(answers)]
    assert maths.unreadable_rows(rows) == [1, 3, 5, 6, 7, 8]
    assert maths.unreadable_rows([{"prompt": "no answer at all"}]) == [0]
    with pytest.raises(
        ValueError, match=r"'maths' .* 6 of 10 rows, first that of row 1: .*'problem 1', 'answer': '2 \+ \('"
    ):
        check_references({"length": lambda **_: [], "maths": maths}, rows)
    check_references({"maths": maths}, [rows[0], rows[2]])


def test_quantities_words_and_lists_start_no_process():
    reward = MathAnswer()
    rows = [{"answer": answer} for answer in ("1/2", "$5 million", "3, 5", "(-\\infty, 3]", "10:30 AM", "(B)", "Bob")]
    assert reward.unreadable_rows(rows[:3] + rows[4:]) == []
    answers = ["0.5", "5,000,000", "5 and 3", "x \\leq 3", "10:30", "B", "Bob."]
    references = [row["answer"] for row in rows]
    assert reward(["q"] * 7, [tagged(answer) for answer in answers], [[1]] * 7, answer=references) == [1.0] * 7
    assert reward._worker._process is None
