"""Problems from a local file."""

from dataclasses import dataclass
from pathlib import Path

from iapo.ops.checks import check_kinds
from iapo.tasks.interface import Row, Split, Task
from iapo.tasks.reading import kind_of, numbered_rows


@dataclass(frozen=True)
class FileTask(Task):
    """The rows of a file: JSON Lines, a JSON array of objects, CSV, tab-separated values or Parquet.

    It may be packed by gzip, bzip2 or xz, whatever its name. Text is UTF-8, with or without a byte-order mark, or
    UTF-16 with one. JSON Lines and arrays are told apart by what is in the file. Fields of a CSV file are text: ``007``
    stays, and ``NA`` is no missing value.

    Args:
        path: the file.
    """

    path: str | Path

    def __post_init__(self) -> None:
        check_kinds(self)

    def __str__(self) -> str:
        return str(self.path)

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The first ``limit`` rows of the file, whatever the split and the seed.

        Raises:
            FileNotFoundError: the file is not there.
            ModuleNotFoundError: a .parquet file without the extra ``train``.
            ValueError: a file or a line that cannot be read (it is named), or something else than one object per row.
        """
        return [row for _, row in self._numbered()][:limit]

    def place(self, index: int) -> str:
        """The index of a row and, where a row begins in a line of its own, that line."""
        line = self.line(index)
        return str(index) if line is None else f"{index} (line {line})"

    def line(self, index: int) -> int | None:
        """The line that a row begins in, counted from 1; ``None`` where rows have no lines of their own."""
        return self._numbered()[index][0]

    def _numbered(self) -> list[tuple[int | None, Row]]:
        path = Path(self.path).expanduser()
        if not path.is_file():
            found = f"{self.path} is a folder, want a file" if path.is_dir() else f"no file {self.path}"
            raise FileNotFoundError(f"data: {found}")
        return numbered_rows(path, kind_of(path))
