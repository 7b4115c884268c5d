"""Records as files, and data sets that are cached in a folder of the test."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ["HF_DATASETS_OFFLINE"] = "1"

RECORDS = [{"question": f"{i}+{i}?", "answer": f"{i} and {i} #### {2 * i}", "level": i} for i in range(5)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are cached in a folder of the test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """Rows with the columns question, answer and level."""
    return [dict(record) for record in RECORDS]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """A function that writes the records as a file of the kind asked for."""

    def written(kind: str) -> Path:
        path = tmp_path / f"problems.{kind}"
        if kind == "jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
        elif kind == "json":
            path.write_text(json.dumps(RECORDS))
        elif kind == "csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(RECORDS[0]))
                writer.writeheader()
                writer.writerows(RECORDS)
        else:
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
        return path

    return written
