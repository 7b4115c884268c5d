"""The files of a run that grow by the step, metrics and samples: one JSON object a line, flushed as it is written."""

import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from iapo.evaluation import Sample, lines_of
from iapo.ops.text_files import read_text, write_text, writing


def append_metrics(path: Path, step: int, metrics: Mapping[str, float]) -> None:
    """Add the metrics of one step."""
    with writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(json.dumps({"step": step, **metrics}) + "\n")


def append_samples(path: Path, step: int, samples: Iterable[Sample]) -> None:
    """Add completions of one step."""
    with writing(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(lines_of(samples, step=step))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The steps written so far; a last line cut off by a crash is left out, and so is a missing file.

    Raises:
        ValueError: another line is damaged; it is named.
    """
    text = read_text(path, "replace") if path.exists() else ""
    return [_row(path, number, line) for number, line in enumerate(text.split("\n")[:-1], 1)]


def truncate(path: Path, step: int) -> list[dict[str, float]]:
    """Drop every line after ``step``, whose update a resumed run will do again; return those that stay."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
    return rows


def truncate_metrics(path: Path, step: int) -> None:
    """`truncate`, and warn if the metrics of an update up to ``step`` are lost, as after a crash of the machine."""
    missing = sorted(set(range(1, step + 1)) - {row["step"] for row in truncate(path, step)})
    if missing:
        warnings.warn(
            f"{path}: the metrics of {len(missing)} of {step} updates are not there (the first: {missing[0]}); the "
            "report is without them, training goes on from the checkpoint as it was",
            stacklevel=2,
        )


def _row(path: Path, number: int, line: str) -> dict[str, float]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(
            f"{path}: line {number} is damaged ({line[:40]!r}), want an object with a step; remove the line"
        )
    return row
