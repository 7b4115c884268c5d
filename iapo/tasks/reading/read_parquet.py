"""Rows from tables in Parquet."""

from pathlib import Path

from iapo.ops.extras import check_installed
from iapo.tasks.interface import Row
from iapo.tasks.reading.class_names import name_classes
from iapo.tasks.reading.narrow_floats import widen_floats

_DATASETS = b"huggingface"
"""Under this name a table has what ``datasets`` knows of its columns."""


def read_parquet(path: Path, content: bytes) -> list[Row]:
    """The rows of a table in Parquet.

    A map is a mapping, and a float has the digits that `widen_floats` gives it. In a table that ``datasets`` wrote,
    classes have their names (`name_classes`).

    Args:
        path: of the file, for errors.
        content: what is in it.

    Raises:
        ModuleNotFoundError: the extra ``train`` is not installed.
        ValueError: what is no Parquet, or names a column twice, or a key of a map.
    """
    check_installed("pyarrow", "train")
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).read()
        names = table.schema.names
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names the columns {doubled} more than once")
        rows: list[Row] = table.to_pylist(maps_as_pydicts="strict")
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise ValueError(f"data: {path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    widen_floats(rows, table.schema)
    if _DATASETS in (table.schema.metadata or {}):
        check_installed("datasets", "train")
        import datasets

        name_classes(rows, datasets.Features.from_arrow_schema(table.schema))
    return rows
