"""Problems from a local file."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iapo.tasks.hub import import_datasets, take
from iapo.tasks.interface import Row, Split, Task

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
"""The endings of the files that can be read."""


@dataclass(frozen=True)
class FileTask(Task):
    """The rows of a .jsonl, .json, .csv or .parquet file.

    Fields of a CSV file are text: ``007`` stays, and ``NA`` is no missing value.

    Args:
        path: the file.
    """

    path: str

    def __str__(self) -> str:
        return self.path

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The first ``limit`` rows of the file, whatever the split and the seed.

        Raises:
            FileNotFoundError: the file is not there.
            ModuleNotFoundError: a .parquet file without the extra ``train``.
            ValueError: a line that cannot be read (it is named), or something else than one object per row.
        """
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"data: no file {self.path}")
        if path.suffix == ".parquet":
            return take(import_datasets().Dataset.from_parquet(str(path), keep_in_memory=True), limit)
        try:
            rows = self._read(path)
        except (RecursionError, csv.Error, ValueError) as error:
            message = str(error)
            raise ValueError(message if message.startswith("data: ") else f"data: {self.path}: {message}") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(f"data: {self.path} holds something else than one object per row")
        return rows[:limit]

    def _read(self, path: Path) -> Any:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".json":
                return json.load(file)
            if path.suffix == ".csv":
                return list(csv.DictReader(file, restkey="", strict=True))
            return [self._line(number, line) for number, line in enumerate(file, 1) if line.strip()]

    def _line(self, number: int, line: str) -> Any:
        try:
            return json.loads(line)
        except ValueError as error:
            raise ValueError(f"data: line {number} of {self.path} is no JSON: {error}") from error
