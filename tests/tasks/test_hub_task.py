"""Data sets of the hub, of which a local directory is one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iapo.tasks import HubTask, load_rows


def test_directory_loads_like_a_data_set_of_the_hub(
    tmp_path: Path, write: Callable[[str], Path], records: list[dict[str, Any]]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    write("jsonl").rename(folder / "test.jsonl")
    rows = load_rows(HubTask(str(folder), "test"), prompt_column="question")
    assert [row["prompt"] for row in rows] == [record["question"] for record in records]
    assert load_rows(HubTask(str(folder), "test"), limit=2, prompt_column="question") == rows[:2]
    with pytest.raises(ValueError, match="train"):
        load_rows(HubTask(str(folder)), prompt_column="question")


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[train\]"):
        load_rows(HubTask("some/dataset"))
