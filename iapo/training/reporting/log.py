"""The files of a run that grow by the step, metrics and samples: one JSON object a line, flushed as it is written."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from iapo.evaluation import Sample, lines_of
from iapo.ops.text_files import file_digest, flush, read_text, write_text, writing

METRICS = "metrics.jsonl"
"""The file of a run folder with the metrics of its updates."""


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


def metrics_digest(path: Path) -> str:
    """SHA-256 of a file of metrics, of no bytes where it is missing, by which a run knows those that it wrote."""
    return file_digest(path) if path.exists() else hashlib.sha256().hexdigest()


def settled_digest(path: Path) -> str:
    """`metrics_digest` once all that was written is on the disk: no crash takes what a checkpoint knows."""
    if path.exists():
        flush(path)
    return metrics_digest(path)


def truncate(path: Path, step: int) -> None:
    """Drop every line after ``step``, whose update a resumed run will do again."""
    write_text(path, _until(path, step)[1])


def truncate_metrics(path: Path, step: int, digest: str) -> None:
    """`truncate` the metrics of a run that goes on from a checkpoint.

    Args:
        path: of the metrics.
        step: of the checkpoint.
        digest: of the metrics up to that step, which the checkpoint has.

    Raises:
        ValueError: there are metrics, and they are not these; they stay as they are.

    Warns:
        UserWarning: those of an update are lost.
    """
    rows, text = _until(path, step)
    if rows and hashlib.sha256(text.encode()).hexdigest() != digest:
        raise ValueError(
            f"{path}: is damaged or of another run, the metrics up to update {step} are not those that this run wrote; "
            "put the file back, or remove it: training goes on as it was, and the report is without them"
        )
    write_text(path, text)
    missing = sorted(set(range(1, step + 1)) - {row["step"] for row in rows})
    if missing:
        warnings.warn(
            f"{path}: the metrics of {len(missing)} of {step} updates are not there (the first: {missing[0]}); the "
            "report is without them, training goes on from the checkpoint as it was",
            stacklevel=2,
        )


def _until(path: Path, step: int) -> tuple[list[dict[str, float]], str]:
    """The lines up to ``step``, and as the text of a file."""
    rows = [row for row in read_metrics(path) if row["step"] <= step]
    return rows, "".join(json.dumps(row) + "\n" for row in rows)


def _row(path: Path, number: int, line: str) -> dict[str, float]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        raise ValueError(
            f"{path}: line {number} is damaged ({line[:40]!r}), want an object with a step; put the file back, or "
            "remove it"
        )
    return row
