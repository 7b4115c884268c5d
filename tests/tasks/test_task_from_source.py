"""The task that a text on the command line names."""

from pathlib import Path
from typing import Any

import pytest

from iapo.tasks import EmbeddedTask, FilesTask, FileTask, HubTask, ReasoningGymTask, Task, task_from_source


@pytest.mark.parametrize(
    ("source", "task"),
    [
        ("embedded", EmbeddedTask()),
        ("reasoning-gym:chain_sum", ReasoningGymTask("chain_sum")),
        ("some/problems.jsonl", FileTask("some/problems.jsonl")),
        ("problems.json", FileTask("problems.json")),
        ("problems.csv", FileTask("problems.csv")),
        ("problems.parquet", FileTask("problems.parquet")),
        ("openai/gsm8k", HubTask("openai/gsm8k", "main")),
        ("problems.txt", HubTask("problems.txt", "main")),
    ],
)
def test_sources_name_tasks(source: str, task: Task) -> None:
    assert task_from_source(source, "main") == task
    assert str(task) == source


def test_paths_are_sources_as_their_texts_are() -> None:
    assert task_from_source(Path("a.jsonl")) == FileTask("a.jsonl")
    assert task_from_source([Path("a.jsonl"), "b.csv"]) == FilesTask(("a.jsonl", "b.csv"))


@pytest.mark.parametrize(
    ("task", "disjoint", "seeded", "holds_out"),
    [
        (EmbeddedTask(), True, True, False),
        (ReasoningGymTask("chain_sum"), False, True, False),
        (FileTask("problems.csv"), False, False, True),
        (HubTask("openai/gsm8k"), False, False, True),
    ],
)
def test_only_fixed_sets_are_held_out(task: Task, disjoint: bool, seeded: bool, holds_out: bool) -> None:
    assert (task.disjoint_splits, task.seeded, task.holds_out) == (disjoint, seeded, holds_out)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "got an empty list, want at least one file"),
        (["a.jsonl", 7], "got 7 in a list, want the name of a file"),
        ("https://huggingface.co/datasets/openai/gsm8k", r"gsm8k is an address; want a file .* the id of a data set"),
        ("hf://datasets/openai/gsm8k/train.parquet", "is an address"),
        (["a.jsonl", "file:///b.jsonl"], r"file:///b\.jsonl is an address"),
        ("[*.jsonl]", r"\[\*\.jsonl\] looks like a list, and is none of texts in YAML: quote its texts"),
        ("[1, 2]", "looks like a list"),
    ],
)
def test_what_names_no_source_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^data: .*{message}"):
        task_from_source(source)
