"""A task of one's own is one class: it works wherever the tasks of the package do."""

from dataclasses import dataclass
from typing import Any

import pytest

from iapo.comparison.running.problems import choose_problems
from iapo.comparison.running.settings import Settings, resolve
from iapo.styles import CompletionStyle
from iapo.tasks import Row, Split, Task, load_rows

COUNT = 40


@dataclass(frozen=True)
class Doubling(Task):
    """A fixed set of problems."""

    first: int = 0

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        rows: list[Row] = [{"prompt": f"{i}+{i}=", "answer": str(2 * i % 10)} for i in range(self.first, COUNT)]
        return rows[:limit]


@dataclass(frozen=True)
class SeededDoubling(Task):
    """Other problems with another seed, some of which every seed has."""

    seeded = True

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        return [{"prompt": f"{(seed + i) % 1000}+0=", "answer": "0"} for i in range(limit or 100)]


@dataclass(frozen=True)
class SplitDoubling(Task):
    """Splits of its own, the name of each in its prompts."""

    disjoint_splits = True
    style = CompletionStyle()

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        return [{"prompt": f"{split} {i}", "answer": "0"} for i in range(COUNT)][:limit]


def settings_of(task: type[Task], **flags: Any) -> Settings:
    path = f"{task.__module__}.{task.__qualname__}"
    return resolve([f"--task={path}", *(f"--{name}={value}" for name, value in flags.items())], "base")


def test_load_rows_checks_its_columns() -> None:
    assert len(load_rows(Doubling())) == COUNT
    assert load_rows(Doubling(first=3), limit=1) == [{"prompt": "3+3=", "answer": "6"}]
    with pytest.raises(ValueError, match=r"data: Doubling\(first=0\) has no column \['question'\]"):
        load_rows(Doubling(), prompt_column="question")
    with pytest.raises(ValueError, match=r"data: Doubling\(first=40\) has no rows"):
        load_rows(Doubling(first=COUNT))


def test_of_a_fixed_set_what_training_holds_out_is_chosen() -> None:
    settings = settings_of(Doubling, **{"task.first": 10})
    chosen = choose_problems(settings, {"validation": 8, "test": 9}, 0, (0, 1))
    found = [row["prompt"] for split in ("validation", "test") for row in chosen[split]]
    assert len(found) == len(set(found)) == 17
    assert {int(prompt.partition("+")[0]) for prompt in found} <= set(range(10, COUNT))
    with pytest.raises(ValueError, match="fewer than the 30 distinct"):
        choose_problems(settings, {"test": 30}, 0, (0,))


def test_of_a_seeded_task_nothing_trained_on_is_chosen() -> None:
    settings = settings_of(SeededDoubling, limit=10)
    chosen = choose_problems(settings, {"validation": 8, "test": 9}, 0, (0, 1))
    trained = {row["prompt"] for seed in (0, 1) for row in SeededDoubling().rows(seed=seed, limit=10)}
    found = [row["prompt"] for split in ("validation", "test") for row in chosen[split]]
    assert len(found) == len(set(found)) == 17
    assert not trained & set(found)
    with pytest.raises(ValueError, match=r"of SeededDoubling\(\) only 989 of 7920"):
        choose_problems(settings, {"test": 990}, 0, (0, 1))


def test_of_disjoint_splits_each_gives_its_own() -> None:
    chosen = choose_problems(settings_of(SplitDoubling), {"validation": 8, "test": 9}, 0, (0, 1))
    assert {split: len(rows) for split, rows in chosen.items()} == {"validation": 8, "test": 9}
    assert all(row["prompt"].startswith(split) for split, rows in chosen.items() for row in rows)
    with pytest.raises(ValueError, match=r"want 41 problems, but the test split of .* has 40"):
        choose_problems(settings_of(SplitDoubling), {"test": 41}, 0, (0,))
