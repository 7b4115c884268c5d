"""The metrics file of a run: one JSON object a line, one line a step, flushed as it is written."""

import json
from collections.abc import Mapping
from pathlib import Path


def append_metrics(path: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Add the metrics of one step."""
    with path.open("a") as file:
        file.write(json.dumps({"step": step, **metrics}) + "\n")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The steps written so far; a last line cut off by a crash is left out, and so is a missing file."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def truncate_metrics(path: Path, step: int) -> None:
    """Drop every line after ``step``, whose update a resumed run will do again."""
    kept = [json.dumps(row) + "\n" for row in read_metrics(path) if row["step"] <= step]
    partial = path.with_suffix(".partial")
    partial.write_text("".join(kept))
    partial.replace(path)
