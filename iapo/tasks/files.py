"""Problems from several local files, those of one behind those of another."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path

from iapo.ops.checks import check_kinds
from iapo.tasks.file import FileTask
from iapo.tasks.interface import Row, Split, Task
from iapo.tasks.reading import check_ending

_LOG = logging.getLogger(__name__)
_SHOWN = 5
"""Files that are named at most."""


@dataclass(frozen=True)
class FilesTask(Task):
    """The rows of several files, each of which is read as `FileTask` reads it. They may be of several kinds.

    Args:
        names: paths of files and patterns of paths, ``shards/train-*.parquet``, in which ``**`` stands for any folders.
            Files come in the order of the names, and those of a pattern in the order of their paths. A name is a path
            where there is a file of that very name, whatever signs are in it.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_kinds(self)

    def __str__(self) -> str:
        others = len(self.names) - 1
        return f"{self.names[0]} (and {others} more)" if others else self.names[0]

    def rows(self, split: Split = "train", seed: int = 0, limit: int | None = None) -> list[Row]:
        """The first ``limit`` rows of the files, whatever the split and the seed; files behind these are not read.

        Files without rows are logged, as a warning.

        Raises:
            FileNotFoundError: a file is not there, or none matches a pattern.
            ModuleNotFoundError: a .parquet file without the extra ``train``.
            ValueError: a file that is there twice, or that cannot be read.
        """
        found: list[Row] = []
        empty = []
        files = self._files()
        for file in files:
            if limit is not None and len(found) >= limit:
                break
            rows = file.rows()
            found += rows
            if not rows:
                empty.append(str(file))
        if found and empty:
            shown = ", ".join(empty[:_SHOWN])
            _LOG.warning("data: %d of the %d files of %s have no rows, as %s", len(empty), len(files), self, shown)
        return found[:limit]

    def place(self, index: int) -> str:
        """The index of a row among all, its file, and in that its line or, where rows have none, its index."""
        places = ((file, row) for file in self._files() for row in range(len(file.rows())))
        file, row = next(islice(places, index, None))
        line = file.line(row)
        return f"{index} ({f'row {row}' if line is None else f'line {line}'} of {file})"

    def _files(self) -> list[FileTask]:
        """The files, all of which are there, and each once."""
        found: dict[Path, str] = {}
        for name in self.names:
            for path in _paths(name):
                check_ending(path)
                target = path.resolve()
                if target in found:
                    raise ValueError(
                        f"data: {self} has {found[target]} and {path}, which are one file; want each file once"
                    )
                found[target] = str(path)
        return [FileTask(path) for path in found.values()]


def is_pattern(name: str) -> bool:
    """Whether a name is a pattern of paths: it has a sign of one, and nothing is there by that very name."""
    return any(sign in name for sign in "*?[") and not Path(name).expanduser().exists()


def _paths(name: str) -> Iterator[Path]:
    """The file of a name, or the files of a pattern in the order of their paths."""
    path = Path(name).expanduser()
    if is_pattern(name):
        matching = sorted({each for each in glob(str(path), recursive=True) if Path(each).is_file()})
        if not matching:
            where = "" if path.is_absolute() else f" in {Path.cwd()}"
            raise FileNotFoundError(f"data: no file matches {name}{where}")
        yield from map(Path, matching)
    elif path.is_dir():
        raise FileNotFoundError(f"data: {name} is a folder; a list has files, and patterns such as {name}/*.jsonl")
    elif not path.is_file():
        raise FileNotFoundError(f"data: no file {name}; a list has files, and patterns of files")
    else:
        yield path
