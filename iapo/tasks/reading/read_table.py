"""Rows from tables in text: comma-separated, semicolons, tabs and bars as well."""

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iapo.tasks.interface import Numbered

_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""The line that tells a spreadsheet the separator."""


@dataclass(frozen=True)
class _Form:
    """The separator of fields, whether a line before the header declares it, and whether a blank follows it."""

    separator: str
    declared: bool
    spaced: bool


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
    form = _form_of(text, kind)
    records = _records(path, text, form)
    rows: Numbered = []
    with _fields_of_any_length():
        named = ((start, fields) for start, fields in records if any(name.strip() for name in fields))
        if form.declared:
            next(named)
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


def _form_of(text: str, kind: str) -> _Form:
    """How a table is written, by the lines that it begins with.

    It is separated by commas, unless its header has none and a semicolon (as where a comma is part of numbers), a tab
    or a bar. Where a blank follows each separator of the header, blanks behind separators are no part of fields.
    """
    lines = (found[0].strip(" ") for found in re.finditer(r"[^\r\n]+", text) if found[0].strip())
    header = next(lines, "")
    if declared := _DECLARED.fullmatch(header):
        header = next(lines, "")
    usual = ("\t",) if kind == ".tsv" else (",", ";", "\t", "|")
    separator = declared[1] if declared else next((sign for sign in usual if sign in header), usual[0])
    spaced = 0 < header.count(separator) == header.count(f"{separator} ")
    return _Form(separator, declared is not None, spaced)


def _records(path: Path, text: str, form: _Form) -> Iterator[tuple[int, list[str]]]:
    """The line that each record begins in, and its fields."""
    file = io.StringIO(text, newline="")
    reader = csv.reader(file, delimiter=form.separator, skipinitialspace=form.spaced, strict=True)
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
