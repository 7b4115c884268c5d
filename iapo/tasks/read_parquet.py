"""Rows from tables in Parquet."""

from pathlib import Path

from iapo.tasks.interface import Row
from iapo.tasks.narrow_floats import widen_floats


def read_parquet(path: Path, content: bytes) -> list[Row]:
    """The rows of a table in Parquet; a map is a mapping, and a float has the digits that `widen_floats` gives it.

    Args:
        path: of the file, for errors.
        content: what is in it.

    Raises:
        ModuleNotFoundError: the extra ``train`` is not installed.
        ValueError: what is no Parquet, or names a column twice, or a key of a map.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pyarrow is missing: install the extra, pip install 'iapo[train]'") from error
    try:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).read()
        names = table.schema.names
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names the columns {doubled} more than once")
        rows: list[Row] = table.to_pylist(maps_as_pydicts="strict")
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise ValueError(f"data: {path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    widen_floats(rows, table.schema)
    return rows
