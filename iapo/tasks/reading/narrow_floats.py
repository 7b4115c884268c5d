"""Numbers that a table of Arrow holds in 16 or 32 bits, as they are written: 0.1 and not 0.10000000149."""

from collections.abc import Sequence
from typing import Any

from iapo.ops.plain_values import plain_value
from iapo.tasks.interface import Row


def widen_floats(rows: Sequence[Row], schema: Any) -> None:
    """Put the number with the fewest digits that names it in the place of each float of less than 64 bits.

    Those inside of lists, structs and maps too. The values that are no float stay as they are.

    Args:
        rows: of a table, as Python values; changed in place.
        schema: of the table, a ``pyarrow.Schema``.
    """
    for field in schema:
        if not _has_narrow(field.type):
            continue
        for row in rows:
            row[field.name] = _widened(row[field.name], field.type)


def _has_narrow(kind: Any) -> bool:
    """Whether a type of Arrow is a float of 16 or 32 bits, or has one inside."""
    import pyarrow

    if pyarrow.types.is_float16(kind) or pyarrow.types.is_float32(kind):
        return True
    return any(map(_has_narrow, _inside(kind).values()))


def _widened(value: Any, kind: Any) -> Any:
    inside = _inside(kind)
    if isinstance(value, float):
        only = inside.get("value", kind)  # of a dictionary, whose values stand in the column
        return plain_value(only.to_pandas_dtype()(value)) if _has_narrow(only) else value
    if isinstance(value, list):
        return [_widened(each, inside["value"]) for each in value]
    if isinstance(value, dict):
        return {name: _widened(each, inside.get(name, inside.get("value"))) for name, each in value.items()}
    return value


def _inside(kind: Any) -> dict[str, Any]:
    """The types of what a value of this type has inside: of the fields of a struct by their names, else ``value``."""
    import pyarrow

    if isinstance(kind, pyarrow.BaseExtensionType):
        return _inside(kind.storage_type)
    if pyarrow.types.is_struct(kind):
        return {field.name: field.type for field in kind}
    if pyarrow.types.is_map(kind):
        return {"value": kind.item_type}
    return {"value": kind.value_type} if hasattr(kind, "value_type") else {}  # of all lists, and a dictionary
