"""Rows from tables in Parquet."""

from pathlib import Path

from iapo.ops.numpy_values import plain_value
from iapo.tasks.interface import Row


def read_parquet(path: Path, content: bytes) -> list[Row]:
    """The rows of a table in Parquet. A number in 16 or 32 bits is read as it is written, 0.1 and not 0.10000000149.

    Args:
        path: of the file, for errors.
        content: what is in it.

    Raises:
        ModuleNotFoundError: the extra ``train`` is not installed.
        ValueError: what is no Parquet, or names a column twice.
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
        rows: list[Row] = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"data: {path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    for name, kind in zip(names, table.schema.types, strict=True):
        if pyarrow.types.is_float16(kind) or pyarrow.types.is_float32(kind):
            narrow = kind.to_pandas_dtype()
            for row in rows:
                row[name] = None if row[name] is None else plain_value(narrow(row[name]))
    return rows
