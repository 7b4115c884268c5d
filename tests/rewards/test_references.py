"""References as data sets hold them: numbers, mappings, lists, bytes; what is read of each, and what is refused."""

import json
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iapo.rewards import ExactAnswer, MathAnswer, check_references
from iapo.rewards.columns import read_references
from iapo.rewards.text import accepted_answers

NO_ANSWER = [
    None,
    float("nan"),
    float("inf"),
    np.float32("nan"),
    Decimal("NaN"),
    [],
    {},
    {"a": "1", "b": "2"},
    {"answer": None},
    set(),
    b"\xff",
    "nan",
    '{"ground_truth": NaN}',
    "{'answer': nan, 'style': 'rule'}",
    "{'answer': None}",
    torch.tensor([1, 2]),
    torch.tensor([4]),
    torch.zeros(0),
    torch.tensor(float("nan")),
    [torch.tensor([1, 2]), torch.tensor([3])],
    object(),
]


@pytest.mark.parametrize(
    ("reference", "accepted"),
    [
        ("4", ("4",)),
        (4, ("4",)),
        (4.0, ("4",)),
        (-0.0, ("-0",)),
        (1e-05, ("0.00001",)),
        (0.1 + 0.2, ("0.3", "0.30000000000000004")),
        (-99.99999999999999, ("-100", "-99.99999999999999")),
        (1.1e-07 / 3, ("0.0000000366666666666667", "0.00000003666666666666667")),
        (1234567890123457.0, ("1234567890123457",)),
        ("33.333333333333336", ("33.3333333333333", "33.333333333333336")),
        ("3.14159265358979323846", ("3.14159265358979323846",)),
        ([0.1 + 0.2, 1], ("[0.3, 1]",)),
        (1e22, ("10000000000000000000000",)),
        (np.float64(0.5), ("0.5",)),
        (np.int64(7), ("7",)),
        (torch.tensor(7), ("7",)),
        (torch.tensor(0.1), ("0.1",)),
        (torch.tensor(0.1, dtype=torch.float16), ("0.1",)),
        (torch.tensor(0.1, dtype=torch.float64, requires_grad=True), ("0.1",)),
        (torch.tensor(0.5, dtype=torch.bfloat16), ("0.5",)),
        (torch.tensor(0.5).to(torch.float8_e4m3fn), ("0.5",)),
        (torch.tensor(True), ("True",)),
        ({"answer": torch.tensor(4.0)}, ("4",)),
        ([torch.tensor(2), torch.tensor(3)], ("[2, 3]",)),
        (Fraction(1, 2), ("1/2",)),
        (Decimal("1E+2"), ("100",)),
        (Decimal("0.50"), ("0.5",)),
        (True, ("True",)),
        (b"x #### 4", ("4",)),
        (r"so \boxed{3} and \boxed{5}", ("3, 5",)),
        ({"ground_truth": "4", "style": "rule"}, ("4",)),
        ({"ground_truth": None, "answer": 4.0}, ("4",)),
        ({"style": None, "target": "4"}, ("4",)),
        ({"answer": {"value": b"4"}}, ("4",)),
        ('{"ground_truth": "4"}', ("4", '{"ground_truth": "4"}')),
        ("{4, 5}", ("{4, 5}",)),
        ('{"x": 4}', ('{"x": 4}',)),
        ("{'ground_truth': '4', 'style': None}", ("4", "{'ground_truth': '4', 'style': None}")),
        (r"{'answer': '\\frac{1}{2}'}", (r"\frac{1}{2}", r"{'answer': '\\frac{1}{2}'}")),
        ("['2', 'two']", ("2", "two", "['2', 'two']")),
        ("['2' 'two']", ("2", "two", "['2' 'two']")),
        ("['2'\n \"it's\"]", ("2", "it's", "['2'\n \"it's\"]")),
        ("array(['2', 'two'], dtype=object)", ("2", "two", "array(['2', 'two'], dtype=object)")),
        ("{'x': 4}", ("{'x': 4}",)),
        ("[1 2]", ("[1 2]",)),
        ("['2' + two]", ("['2' + two]",)),
        ("{1, 2}", ("{1, 2}",)),
        (r"\{1, 2\}", (r"\{1, 2\}",)),
        ("{" * 3000, ("{" * 3000,)),
        ({1, 2}, ("{1, 2}",)),
        ({"two", "2"}, ("2", "two")),
        (frozenset([0.5]), ("{0.5}",)),
        (["2", "two"], ("2", "two")),
        ([2, "two", None], ("2", "two")),
        (np.array(["2", "two"]), ("2", "two")),
        ([2, 3.0], ("[2, 3]",)),
        ([4], ("4", "[4]")),
        (np.array([2.5, 3.0]), ("[2.5, 3]",)),
        ([2, None], ()),
        (date(2024, 5, 1), ("2024-05-01",)),
        (datetime(2024, 5, 1), ("2024-05-01",)),
        ("48+24=72 #### 1,072\nThe answer is: 1072", ("1072",)),
        ("72\n#### 72\n#### ", ("72",)),
        ("#### **72**", ("72",)),
        ("#### Step 1\n48+24\n#### Step 2\nSo \\boxed{72}.", ("72",)),
        ("#### Step 1\nThe answer is 72.", ("Step 1\nThe answer is 72.",)),
        ("#### \\begin{pmatrix}\n1\n\\end{pmatrix}", ("\\begin{pmatrix}\n1\n\\end{pmatrix}",)),
        ("####", ("",)),
        *((nothing, ()) for nothing in NO_ANSWER),
    ],
)
def test_what_an_entry_accepts(reference: Any, accepted: tuple[str, ...]) -> None:
    assert accepted_answers(reference) == accepted


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value_without_an_exponent(number: float) -> None:
    *kept, text = accepted_answers(json.loads(json.dumps(number)))
    assert float(text) == number
    assert all(float(each) == pytest.approx(number, rel=1e-14) for each in kept)
    assert not any("e" in each.lower() for each in (*kept, text))


@pytest.mark.parametrize("reward", [MathAnswer(), ExactAnswer()])
@pytest.mark.parametrize(
    ("reference", "given_answer"),
    [
        (1e-05, "0.00001"),
        (4.0, "4"),
        (1.1 * 3, "3.3"),
        (99.99999999999999, "100"),
        ({"ground_truth": "4"}, "4"),
        (["2", "two"], "two"),
        (b"4", "4"),
        (np.array(["2", "two"]), "2"),
        ([72], "72"),
    ],
)
def test_right_answers_score(reward: Any, reference: Any, given_answer: str) -> None:
    texts = [f"<think></think><answer>{text}</answer>" for text in (given_answer, "9")]
    assert reward(["q"] * 2, texts, [[], []], answer=[reference] * 2) == [1.0, 0.0]


@pytest.mark.parametrize("reward", [MathAnswer(), ExactAnswer()])
@pytest.mark.parametrize("nothing", NO_ANSWER)
def test_a_reference_that_is_none_is_named_with_its_row(reward: Any, nothing: Any) -> None:
    rows = [{"prompt": "1", "answer": "1"}, {"prompt": "2", "answer": nothing}]
    with pytest.raises(ValueError, match=r"'mine' cannot read the references of 1 of 2 rows, first that of row 1"):
        check_references({"mine": reward}, rows)
    with pytest.raises(ValueError, match="that of row 1 is "):
        read_references(rows)


@pytest.mark.parametrize(
    "reference",
    [
        {"ground_truth": "4", "style": "rule"},
        {"ground_truth": np.array(["4", "four"], dtype=object)},
        {"ground_truth": np.float64(4.0), "split": np.array(["a", "b"])},
        np.array(["4", "four"], dtype=object),
        np.array(["4"] * 40),
    ],
)
@pytest.mark.parametrize("write", [str, repr])
def test_what_pandas_writes_into_a_table_of_texts_is_read(reference: Any, write: Any) -> None:
    text = write(reference)
    assert accepted_answers(text)[0] == "4"
    assert MathAnswer()(["q"], ["<answer>4</answer>"], [[]], answer=[text]) == [1.0]
    if isinstance(reference, dict):  # a list may be the answer itself there
        assert ExactAnswer()(["q"], ["<answer>4</answer>"], [[]], answer=[text]) == [1.0]


def test_an_estimator_is_asked_about_the_first_answer() -> None:
    assert read_references([{"answer": {"ground_truth": "4"}}, {"answer": ["2", "two"]}]) == ["4", "2"]


def test_narrow_floats_lists_of_structs_and_lists_in_text_are_read() -> None:
    assert accepted_answers(np.float32(0.1)) == accepted_answers(0.1)
    assert accepted_answers([{"ground_truth": "4"}, {"ground_truth": "5"}]) == ("4", "5")
    assert accepted_answers('["4", "5"]')[:2] == ("4", "5")
    assert accepted_answers("[1, 2]") == ("[1, 2]",)


PROOF = (
    "We use induction. For 1 the claim is clear. Suppose that it holds for n. Then it holds for the next number too, "
    "which completes the proof, as n was any number and the step holds for all of them."
)


def test_a_solution_that_marks_no_answer_is_named() -> None:
    """No final answer is all of it, so that every completion would be wrong."""
    reward = MathAnswer()
    rows = [{"prompt": "1", "answer": "72"}, {"prompt": "2", "answer": PROOF}]
    with pytest.raises(ValueError, match=r"references of 1 of 2 rows, first that of row 1: .*induction"):
        check_references({"mine": reward}, rows)
    assert reward(["q"] * 2, ["<answer>72</answer>"] * 2, [[], []], answer=["72", PROOF]) == [1.0, None]
    words = ", ".join(f"word{'abcdefgh'[index % 8]}{'ijklmnop'[index // 8]}" for index in range(40))
    assert reward.unreadable_rows([{"answer": words}, {"answer": f"{PROOF} So the answer is 72."}]) == []
