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


def read_rows(path: Path, kind: str) -> list[Row]:
    """All rows of a file.

    Args:
        path: the file.
        kind: its ending, which says how it is read.

    Raises:
        ModuleNotFoundError: Parquet without the extra ``train``.
        ValueError: what cannot be read.
    """
    if kind == ".parquet":
        return _read_parquet(path)
    text = _decode(path, _read_bytes(path))
    if kind in (".csv", ".tsv"):
        return _read_table(path, text, "," if kind == ".csv" else "\t")
    rows = _read_json(path, text)
    if (
        not isinstance(rows, list)
        or not all(isinstance(row, dict) for row in rows)
        or (kind == ".json" and len(rows) == 1 and not text.lstrip().startswith("["))
    ):
        raise ValueError(f"data: {path} holds something else than one object per row")
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


def _read_json(path: Path, text: str) -> Any:
    """An array of objects, or an object a line: told apart by the first character, whatever the file is called."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            if "Extra data" not in str(error):  # an array a line
                raise ValueError(f"data: {path} is no JSON: {error}") from error
            return None
    return [_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"data: line {number} of {path} is no JSON: {error}; want one object a line, or an array of objects"
        ) from error


def _read_table(path: Path, text: str, separator: str) -> list[Row]:
    """Strict: what others mend in silence (a stray quote, a field too few or too many) would be a wrong row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
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
                header = fields
                if doubled := sorted({name for name in header if header.count(name) > 1}):
                    raise ValueError(f"data: line {start} of {path} names the columns {doubled} more than once")
            elif fields:
                if len(fields) != len(header):
                    raise ValueError(
                        f"data: line {start} of {path} has {len(fields)} fields, want {len(header)} as in its header"
                    )
                rows.append(dict(zip(header, fields, strict=True)))
            start = reader.line_num + 1


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Without the module's limit of 131072 characters a field, which is one for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
