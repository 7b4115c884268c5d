"""Rows from tables in text: comma-separated, semicolons and tabs as well."""

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iapo.tasks.interface import Numbered


def read_table(path: Path, text: str, kind: str) -> Numbered:
    """The rows below the header, which is the first line that is not blank, and the lines that they begin in.

    Reading is strict: what other readers mend in silence (a stray quote, a field too few or too many) would be a wrong
    row here.

    Args:
        path: of the file, for errors.
        text: what is in it.
        kind: the ending of its name; a ``.tsv`` is separated by tabs.

    Raises:
        ValueError: what is no CSV, a column that is named twice, or a record of more or fewer fields than the header.
    """
    separator = "\t" if kind == ".tsv" else _separator(text)
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
                    f"data: line {start} of {path} has {len(fields)} fields, want {len(header)} as in its header, "
                    f"line {first}"
                )
            rows.append((start, dict(zip(header, fields, strict=True))))
    return rows


def _separator(text: str) -> str:
    """A comma, unless the first line has none and a semicolon, as where a comma is part of numbers, or a tab."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return next((sign for sign in (",", ";", "\t") if sign in first), ",")


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
