"""Rows from files of each kind. What cannot be read is an error that names the file and the line."""

import codecs
import csv
import io
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
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

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ\0": "lzma"}
"""How files begin that a module of the standard library unpacks."""
_FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the workbook as CSV in UTF-8"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save it as CSV in UTF-8"),
    b"(\xb5/\xfd": ("packed by Zstandard", "unpack it with zstd -d"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it"),
    b"PAR1": ("Parquet", "give it the ending .parquet"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
    b"SQLite format 3": ("a database of SQLite", "write the table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS in place of the data", "get them with git lfs pull"),
}
"""How files begin that are not read, what they are, and the remedy."""

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
    content = _unpacked(path)
    refuse_foreign(path, content, kind)
    if kind == ".parquet":
        return [(None, row) for row in _read_parquet(path, content)]
    text = _decode(path, content)
    if kind in (".csv", ".tsv"):
        return _read_table(path, text, "\t" if kind == ".tsv" else _separator(text))
    rows = _read_json(path, text)
    for index, (line, row) in enumerate(rows):
        place = f"row {index}" if line is None else f"line {line}"
        if not isinstance(row, dict):
            raise ValueError(
                f"data: {place} of {path} is {type(row).__name__}, something else than one object per row: want an "
                "object of columns a line, or an array of such objects"
            )
        if isinstance(row, _Doubled):
            raise ValueError(f"data: {place} of {path} has the columns {row.names} more than once; want each once")
    if len(rows) == 1 and kind == ".json":
        _check_row(path, rows[0][1])
    return rows


def refuse_foreign(path: Path, content: bytes, kind: str) -> None:
    """Raise ``ValueError`` for a file that begins like what is not read, or not by this ending; the remedy is named.

    Args:
        path: the file.
        content: what is in it; its beginning is enough.
        kind: its ending.
    """
    found = next((mark for mark in _FOREIGN if content.startswith(mark)), None)
    if found is not None and (found, kind) != (b"PAR1", ".parquet"):
        what, remedy = _FOREIGN[found]
        raise ValueError(
            f"data: {path} is {what}; {remedy}. What is read: JSON Lines, a JSON array, CSV, tab-separated values and "
            "Parquet, as they are or packed by gzip, bzip2 or xz"
        )


def _unpacked(path: Path) -> bytes:
    """What is in a file, unpacked if it begins like something packed, whatever its name."""
    content = path.read_bytes()
    packed = next((name for mark, name in _PACKED.items() if content.startswith(mark)), None)
    if packed is None:
        return content
    module = import_module(packed)
    try:
        unpacked: bytes = module.decompress(content)
    except (OSError, EOFError, ValueError, zlib.error, getattr(module, "LZMAError", OSError)) as error:
        raise ValueError(f"data: {path} is a damaged {packed} file: {error}") from error
    return unpacked


def _read_parquet(path: Path, content: bytes) -> list[Row]:
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


def _decode(path: Path, content: bytes) -> str:
    mark = next((mark for mark in _MARKS if content.startswith(mark)), b"")
    encoding = _MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in content[:1024]:
        raise ValueError(
            f"data: {path} has zero bytes, so that it is no text in UTF-8: it begins with {content[:8]!r}; UTF-16 "
            "without a byte-order mark is converted with iconv -f utf-16le -t utf-8"
        )
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
            whole = _loads(text)
        except (ValueError, RecursionError) as error:
            if "Extra data" not in str(error):  # an array a line
                raise ValueError(f"data: {path} is no JSON: {error}") from error
        else:
            return [(None, row) for row in whole]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found: list[tuple[int | None, Any]] = []
    for number, line in lines:
        try:
            found.append((number, _loads(line)))
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
        return _loads(text)
    except (ValueError, RecursionError):
        return None


class _Doubled(dict[str, Any]):
    """An object that has some names more than once: of two values, which is meant?"""

    names: list[str]


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled, names = _Doubled(found), [name for name, _ in pairs]
    doubled.names = sorted(name for name in found if names.count(name) > 1)
    return doubled


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


def _separator(text: str) -> str:
    """A comma, unless the first line has none and a semicolon, as where a comma is part of numbers, or a tab."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return next((sign for sign in (",", ";", "\t") if sign in first), ",")


def _read_table(path: Path, text: str, separator: str) -> Numbered:
    """The rows below the header, the first line that is not blank.

    Strict: what others mend in silence (a stray quote, a field too few or too many) would be a wrong row.
    """
    records = _records(path, text, separator)
    rows: Numbered = []
    with _fields_of_any_length():
        named = ((start, fields) for start, fields in records if any(name.strip() for name in fields))
        first, header = next(named, (1, []))
        if doubled := sorted({name for name in header if header.count(name) > 1}):
            raise ValueError(f"data: line {first} of {path} names the columns {doubled} more than once")
        for start, fields in records:
            if not fields:
                continue
            if len(fields) != len(header):
                raise ValueError(
                    f"data: line {start} of {path} has {len(fields)} fields, want {len(header)} as in its header"
                )
            rows.append((start, dict(zip(header, fields, strict=True))))
    return rows


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line that each record begins in, and its fields."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"data: line {start} of {path} is no CSV: {error}; a quote inside a quoted field is written twice"
        ) from error


@contextmanager
def _fields_of_any_length() -> Iterator[None]:
    """Without the module's limit of 131072 characters a field, which is one for the whole process."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
