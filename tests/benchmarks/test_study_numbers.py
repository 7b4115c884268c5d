"""The tables of the study and of the README against the results of the runs that they are of."""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "docs" / "study"
RESULTS = json.loads((STUDY / "results.json").read_text())
TASKS = sorted({row["task"] for row in RESULTS if (STUDY / f"{row['task']}.md").exists()})
ENTRIES = {
    "before": ("base", 0),
    "the default method of `iapo train`": ("leave_out", 0),
    "the default, its price fading to 0": ("leave_out_fading", 0),
    "the same, a second seed": ("leave_out_fading", 1),
    "GRPO": ("grpo", 0),
    "GRPO with the default's loss": ("grpo_token", 0),
    "GRPO under a hard cap": ("grpo_capped", 0),
    "DLER": ("dler", 0),
    "a length reward": ("arora_zanette", 0),
    "APR, a reward for a sufficient prefix": ("apr", 0),
    "the default, its price at permuted places": ("leave_out_permuted", 0),
}
"""Entry and seed by the first cell of a row of the README."""


def runs_of(task, entry):
    """The rows of an entry that report, by seed."""
    found = [row for row in RESULTS if (row["task"], row["split"]) == (task, "test")]
    # Folders of comparisons stand in `runs`, those of entries in these.
    return sorted((row for row in found if PurePosixPath(row["run"]).parts[2] == entry), key=lambda row: row["seed"])


def cells_of(text: str) -> Iterator[list[str]]:
    """The cells of the rows of the first table in a text, its two lines of heads left out."""
    lines = text[text.index("\n|") + 1 :].split("\n\n")[0].splitlines()
    yield from ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])


@pytest.mark.parametrize("task", TASKS)
def test_tables_of_the_study_are_means_of_the_results(task):
    text = (STUDY / f"{task}.md").read_text()
    head = re.search(r"^\| method .*$", text, re.MULTILINE)[0].strip("| ").split(" | ")
    for cells in cells_of(text):
        row = dict(zip(head, cells, strict=True))
        entry = row["method"].removesuffix(" †")
        runs = runs_of(task, entry)[: int(row["runs"])]  # some have runs that were added behind the table
        assert len(runs) == int(row["runs"]), entry
        for column, field, places in (
            ("accuracy", "accuracy", 3),
            ("mean length", "mean_length", 1),
            ("accuracy, hardest third", "accuracy_hard", 3),
            ("greedy accuracy", "greedy_accuracy", 3),
            ("greedy length", "greedy_length", 1),
        ):
            mean = sum(run[field] for run in runs) / len(runs)
            assert row[column].split(" (")[0] == f"{mean:.{places}f}", (entry, column)


def test_the_table_of_the_readme_is_of_the_results():
    text = (ROOT / "README.md").read_text().partition("## On a real model")[2]
    seen = []
    for name, *cells in cells_of(text):
        entry, seed = ENTRIES[name.strip("*")]
        seen.append(name.strip("*"))
        for task, pair in (("smollm2-sums", cells[:2]), ("smollm2-words", cells[2:])):
            runs = [run for run in runs_of(task, entry) if run["seed"] == seed]
            wanted = [
                f"{run[f'{kind}accuracy']:.3f} at {run[length]:.1f}"
                for run in runs
                for kind, length in (("", "mean_length"), ("greedy_", "greedy_length"))
            ]
            assert [cell.strip("*") for cell in pair] == (wanted or ["", ""]), (name, task)
    assert seen == list(ENTRIES)
