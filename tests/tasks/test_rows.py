"""Rows of a task: columns of all rows, names that rewards have for other things, rows without references."""

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from iapo.rewards.text import accepted_answers
from iapo.tasks import Row, Split, Task, load_rows


@dataclass(frozen=True)
class Given(Task):
    """Rows that a test writes."""

    given: tuple[Row, ...]

    def __str__(self) -> str:
        return "mine"

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        return list(self.given)[:limit]


def load(*rows: dict[str, Any], **options: Any) -> list[Row]:
    return load_rows(Given(rows), **options)


@pytest.mark.parametrize("order", [1, -1])
def test_columns_are_those_of_all_rows(caplog: pytest.LogCaptureFixture, order: int) -> None:
    given = [{"prompt": "1", "answer": "1"}, {"prompt": "2", "answer": "2", "hint": "x"}][::order]
    rows = load(*given)
    assert [row["hint"] for row in rows] == [None, "x"][::order]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "{'hint': 1}" in caplog.text


def test_columns_named_like_arguments_of_rewards_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    row = {"prompt": "1", "answer": "1", "completions": "right", "completion_ids": [1], "prompts": "x", "level": 3}
    assert load(row) == [{"prompt": "1", "answer": "1", "level": 3}]
    assert "['completion_ids', 'completions', 'prompts'] of mine are left out" in caplog.text


def test_columns_named_like_arguments_of_trl_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    row = {"prompt": "1", "trainer_state": 1, "log_extra": "x", "log_metric": None, "level": 3}
    assert load(row) == [{"prompt": "1", "level": 3}]
    assert "['log_extra', 'log_metric', 'trainer_state'] of mine are left out" in caplog.text


def test_conversations_of_sharegpt_are_prompts() -> None:
    said = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]
    (row,) = load({"conversations": said, "answer": 2}, last_assistant="drop")
    assert row["prompt"] == [{"role": "user", "content": "1+1?"}]


@pytest.mark.parametrize("spelled", [("Problem", "Answer"), ("QUESTION", "Final_Answer"), ("question ", " answer")])
def test_usual_names_are_found_however_they_are_spelled(
    caplog: pytest.LogCaptureFixture, spelled: tuple[str, str]
) -> None:
    (row,) = load(dict(zip(spelled, ("1+1?", 2), strict=True)))
    assert (row["prompt"], row["answer"]) == ("1+1?", 2)
    assert all(f"{name!r} is taken" in caplog.text for name in spelled)


@pytest.mark.parametrize(
    ("prompt", "column", "value"),
    [
        ("Which is odd?", "choices", ["2", "3"]),
        ("Which is odd? 2 or 4", "Options", {"label": ["A", "B"], "text": ["2", "3"]}),
        ("Add the numbers.", "input", "1 and 1"),
        ([{"role": "user", "content": "1+1?"}], "system", "Be brief."),
        ("What is this?", "images", [b"png"]),
    ],
)
def test_a_part_of_the_problem_that_the_prompt_lacks_is_told(
    caplog: pytest.LogCaptureFixture, prompt: Any, column: str, value: Any
) -> None:
    seen = {"prompt": [{"role": "user", "content": f"2 3 A B 1 and 1 Be brief. {b'png'!s}"}], column: value}
    load(seen, {"prompt": "1", column: None}, {"prompt": "1", column: " "}, {"prompt": "1", column: []})
    assert "not" not in caplog.text
    load(seen, {"prompt": prompt, column: value})
    assert f"the policy reads the column 'prompt' of mine and not [{column!r}]" in caplog.text


def test_a_part_of_the_problem_that_the_prompt_spaces_otherwise_is_not_lacking(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load({"prompt": "Which is odd?\nA) 2\nB)  3", "options": ["A)2", "B) 3"], "answer": "B"})
    assert not caplog.text


def test_a_column_that_is_the_prompt_or_the_answer_is_no_part_that_is_lacking(caplog: pytest.LogCaptureFixture) -> None:
    asked = [{"role": "user", "content": "1+1?"}]
    load({"input": asked, "options": "2"}, prompt_column="input", answer_column="options")
    assert not caplog.text


def test_an_answer_is_taken_before_a_solution_that_leads_to_it() -> None:
    solved = {"question": "1+1?", "solution": ["One and one are two."], "final_answer": ["2"]}
    assert load(solved)[0]["answer"] == ["2"]


def test_what_has_no_column_says_how_to_name_one() -> None:
    with pytest.raises(ValueError, match=r"no column \['prompt'\], it has \['text'\].*; --prompt_column names another"):
        load({"text": "1"})
    with pytest.raises(ValueError, match=r"no column \['y'\].*; --answer_column names another"):
        load({"prompt": "1", "x": "1"}, answer_column="y")


def test_prompts_alone_are_rows() -> None:
    assert load({"prompt": "1"}, {"prompt": [{"role": "user", "content": "2"}]}) == [
        {"prompt": "1"},
        {"prompt": [{"role": "user", "content": "2"}]},
    ]
    with pytest.raises(ValueError, match=r"mine has no column \['solution'\]"):
        load({"prompt": "1"}, answer_column="solution")


@pytest.mark.parametrize("answer", [None, float("nan"), [], {}])
def test_a_row_without_an_answer_is_named(answer: Any) -> None:
    with pytest.raises(ValueError, match=r"mine has nothing in \['answer'\] of row 1"):
        load({"prompt": "1", "answer": "1"}, {"prompt": "2", "answer": answer})
    with pytest.raises(ValueError, match=r"no column \['answer'\].*row 1"):
        load({"prompt": "1", "answer": "1"}, {"prompt": "2"})


def test_a_prompt_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="the prompt of row 1 of mine is of type int"):
        load({"prompt": "1", "answer": "1"}, {"prompt": 2, "answer": "1"})
    solved = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    with pytest.raises(ValueError, match="the prompt of row 0 of mine ends with a message of the assistant"):
        load({"prompt": solved, "answer": "1"})
    assert load({"prompt": solved}, last_assistant="drop") == [{"prompt": solved[:1]}]


def test_values_of_numpy_are_those_of_python() -> None:
    (row,) = load({"prompt": "1", "answer": np.array(["2", "two"]), "x": np.float32(0.5), "y": Decimal("1.5")})
    assert row == {"prompt": "1", "answer": ["2", "two"], "x": 0.5, "y": Decimal("1.5")}
    assert type(row["x"]) is float


@pytest.mark.parametrize("name", ["NA", "NaT"])
def test_a_missing_value_of_pandas_is_none(name: str) -> None:
    missing = getattr(pytest.importorskip("pandas"), name)
    assert accepted_answers(missing) == accepted_answers({"ground_truth": missing}) == ()
    assert load({"prompt": "1", "answer": "1", "hint": missing}) == [{"prompt": "1", "answer": "1", "hint": None}]
    with pytest.raises(ValueError, match=r"mine has nothing in \['answer'\] of row 1"):
        load({"prompt": "1", "answer": "1"}, {"prompt": "2", "answer": missing})


def test_an_answer_column_named_like_an_argument_is_the_answer() -> None:
    class Named(Task):
        def rows(self, split="train", seed=0, limit=None):  # type: ignore[no-untyped-def]
            return [{"prompt": "1+1=", "completions": "2", "answer": "9", "self": 1}]

    assert load_rows(Named(), "train", 0, answer_column="completions") == [{"prompt": "1+1=", "answer": "2"}]
