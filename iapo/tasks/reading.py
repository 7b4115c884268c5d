"""Rows from files of each kind. What cannot be read is an error that names the file and the line."""

import codecs
import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iapo.ops.numpy_values import plain_value
from iapo.tasks.interface import Row

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte-order marks; that of UTF-32 begins like that of UTF-16 and is tried before it."""


Numbered = list[tuple[int | None, Row]]
"""Rows and the lines that they begin in, counted from 1; ``None`` where rows have no lines of their own."""


def numbered_rows(path: Path, kind: str) -> Numbered:
    """All rows of a file, and in which line each of them begins.

    Args:
        path: the file.
        kind: its ending, which says how it is read.

    Raises:
        ModuleNotFoundError: Parquet without the extra ``train``.
        ValueError: what cannot be read.
    """
    if kind == ".parquet":
        return [(None, row) for row in _read_parquet(path)]
    text = _decode(path, _read_bytes(path))
    if kind in (".csv", ".tsv"):
        return _read_table(path, text, "," if kind == ".csv" else "\t")
    rows = _read_json(path, text)
    for index, (line, row) in enumerate(rows):
        if not isinstance(row, dict):
            place = f"row {index}" if line is None else f"line {line}"
            raise ValueError(
                f"data: {place} of {path} is {type(row).__name__}, something else than one object per row: want an "
                "object of columns a line, or an array of such objects"
            )
    if len(rows) == 1 and kind == ".json":
        _check_row(path, rows[0][1])
    return rows


def _read_parquet(path: Path) -> list[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("pyarrow is missing: install the extra, pip install 'iapo[train]'") from error
    try:
        table = pyarrow.parquet.read_table(path)
        rows: list[Row] = table.to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"data: {path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if pyarrow.types.is_float16(kind) or pyarrow.types.is_float32(kind):
            narrow = kind.to_pandas_dtype()
            for row in rows:
                row[name] = None if row[name] is None else plain_value(narrow(row[name]))
    return rows


def _read_bytes(path: Path) -> bytes:
    """What is in a file, unpacked if it begins like a gzip, whatever its name."""
    content = path.read_bytes()
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"data: {path} is a damaged gzip: {error}") from error


def _decode(path: Path, content: bytes) -> str:
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = content[len(mark) : len(mark) + error.start].count(b"\n") + 1
        raise ValueError(
            f"data: line {line} of {path} is no {encoding.upper()} (byte 0x{error.object[error.start]:02x}); convert "
            "the file, as with iconv -f latin1 -t utf-8"
        ) from error


def _read_json(path: Path, text: str) -> list[tuple[int | None, Any]]:
    """An array of objects, an object a line, or one object: told apart by the text, whatever the file is called."""
    if text.lstrip().startswith("["):
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError) as error:
            if "Extra data" not in str(error):  # an array a line
                raise ValueError(f"data: {path} is no JSON: {error}") from error
        else:
            return [(None, row) for row in whole]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found: list[tuple[int | None, Any]] = []
    for number, line in lines:
        try:
            found.append((number, json.loads(line)))
        except (ValueError, RecursionError) as error:
            whole = None if found else _whole(text)
            if whole is not None:
                return [(number, whole)]
            raise ValueError(
                f"data: line {number} of {path} is no JSON: {error}; want one object a line, or an array of objects"
            ) from error
    return found


def _whole(text: str) -> Any:
    """The one object that is written over several lines; ``None`` if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _check_row(path: Path, row: Row) -> None:
    """Raise for an object that holds the rows in a field, or all of their columns, in place of being one."""
    nested = [name for name, value in row.items() if _are_rows(value)]
    if nested:
        raise ValueError(
            f"data: {path} is one object with rows in its field {nested[0]!r}; want one object a line, as from "
            f"jq -c '.{nested[0]}[]' {path}, or the array alone"
        )
    columns = [value for value in row.values() if isinstance(value, list | dict) and len(value) > 1]
    is_table = len(row) > 1 and len(columns) == len(row) and len({len(value) for value in columns}) == 1
    if is_table and not any(_are_messages(value) for value in columns):
        raise ValueError(
            f"data: {path} is one object of columns; want one object per row, as pandas writes with "
            "df.to_json(path, orient='records', lines=True)"
        )


def _are_rows(value: Any) -> bool:
    is_list = isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)
    return is_list and not _are_messages(value)


def _are_messages(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and "role" in each for each in value)


def _read_table(path: Path, text: str, separator: str) -> Numbered:
    """Strict: what others mend in silence (a stray quote, a field too few or too many) would be a wrong row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: Numbered = []
    header: list[str] | None = None
    start = 1
    with _fields_of_any_length():
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return rows
            except csv.Error as error:
                raise ValueError(
                    f"data: line {start} of {path} is no CSV: {error}; a quote inside a quoted field is written twice"
                ) from error
            if header is None:
                header = fields if any(name.strip() for name in fields) else None
                if doubled := sorted({name for name in header or () if fields.count(name) > 1}):
                    raise ValueError(f"data: line {start} of {path} names the columns {doubled} more than once")
            elif fields:
                if len(fields) != len(header):
                    raise ValueError(
                        f"data: line {start} of {path} has {len(fields)} fields, want {len(header)} as in its header"
                    )
                rows.append((start, dict(zip(header, fields, strict=True))))
            start = reader.line_num + 1


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Without the module's limit of 131072 characters a field, which is one for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
