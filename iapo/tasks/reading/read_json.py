"""Rows from JSON: one object a line, an array of objects, or one object."""

import json
from pathlib import Path
from typing import Any

from iapo.tasks.interface import Numbered, Row


def read_json(path: Path, text: str, kind: str) -> Numbered:
    """The rows of a text in JSON, and the lines that they begin in.

    Args:
        path: of the file, for errors.
        text: what is in it.
        kind: the ending of its name. A ``.json`` that is one object may hold the rows, and is refused then.

    Raises:
        ValueError: what is no JSON, no object, or names a column twice; or one object that holds the rows in a field or
            is a table of columns, with what converts it.
    """
    rows = _parsed(path, text)
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


def _parsed(path: Path, text: str) -> list[tuple[int | None, Any]]:
    """An array of objects, an object a line, or one object: told apart by the text, whatever the file is called."""
    if text.lstrip().startswith("["):
        try:
            whole = _loads(text)
        except (ValueError, RecursionError) as error:
            if "Extra data" not in str(error):  # an array a line
                raise ValueError(f"data: {path} is no JSON: {error}") from error
        else:
            return [(None, row) for row in whole]
    # Files that were joined (cat a.jsonl b.jsonl) have byte-order marks inside.
    lines = [(number, line.removeprefix("\ufeff")) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    found: list[tuple[int | None, Any]] = []
    for number, line in lines:
        try:
            found.append((number, _loads(line)))
        except (ValueError, RecursionError) as error:
            whole = None if found else _whole(text)
            if whole is not None:
                return [(number, whole)]
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):
                reason = f"{error.msg.removesuffix(' at')} at column {error.colno}"
            raise ValueError(
                f"data: line {number} of {path} is no JSON: {reason}; want one object a line, as jq -c . writes "
                "them, or an array of objects"
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
