"""Local files of every kind, and what is wrong with a file or a row of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iapo.tasks import FileTask, load_rows


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_local_files(write: Callable[[str], Path], records: list[dict[str, Any]], kind: str) -> None:
    task = FileTask(str(write(kind)))
    rows = load_rows(task, prompt_column="question")
    if kind == "csv":
        records = [{**record, "level": str(record["level"])} for record in records]
    assert rows == [{**record, "prompt": record["question"]} for record in records]
    assert load_rows(task, limit=2, prompt_column="question") == rows[:2]
    assert load_rows(task, limit=99, prompt_column="question") == rows
    assert load_rows(task, "test", seed=1, prompt_column="question") == rows


def test_missing_columns_are_named(write: Callable[[str], Path]) -> None:
    task = FileTask(str(write("jsonl")))
    with pytest.raises(ValueError, match=r"no column \['asked'\], it has \['answer', 'level', 'question'\]"):
        load_rows(task, prompt_column="asked")
    with pytest.raises(ValueError, match=r"no column \['solution'\]"):
        load_rows(task, prompt_column="question", answer_column="solution")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"prompt": "1", "answer": "1"}\n{"answer": "2"}',
            r"column \['prompt'\], it has .* row 1 \(line 2\)",
        ),
        ("a.jsonl", '{"prompt": "1", "answer": "1"}\n\n{"prom', r"line 3 of .*a\.jsonl is no JSON"),
        ("a.jsonl", '{"prompt": "1", "answer": null}', r"nothing in \['answer'\] of row 0"),
        ("a.jsonl", '{"prompt": "", "answer": "1"}', r"nothing in \['prompt'\] of row 0"),
        ("a.jsonl", '{"prompt": [], "answer": "1"}', r"nothing in \['prompt'\] of row 0"),
        ("a.jsonl", "[1]", "something else than one object per row"),
        ("a.jsonl", "", "has no rows"),
        ("a.csv", "", "has no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_rows(FileTask(str(tmp_path / name)))


def test_csv_fields_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,answer\n007,NA\n 1 , 2\n"a\n""b""",1e3\n')
    assert load_rows(FileTask(str(tmp_path / "a.csv"))) == [
        {"prompt": "007", "answer": "NA"},
        {"prompt": " 1 ", "answer": " 2"},
        {"prompt": 'a\n"b"', "answer": "1e3"},
    ]


def test_lone_surrogates_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "1\\ud800", "answer": "\\udfff\\u0000"}')
    assert load_rows(FileTask(str(tmp_path / "a.jsonl"))) == [{"prompt": "1?", "answer": "?\0"}]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.jsonl"):
        load_rows(FileTask(str(tmp_path / "nothing.jsonl")))
