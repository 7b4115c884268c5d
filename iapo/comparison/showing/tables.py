"""Tables of a page: text escaped, numbers with their intervals, links."""

from collections.abc import Sequence
from html import escape

from iapo.evaluation import Interval
from iapo.inspection.markup import escaped

Cell = tuple[str, str]
"""Content of a cell, HTML, and its class."""


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    text: int,
    marked: Sequence[bool] = (),
    ids: Sequence[str] = (),
) -> str:
    """A table whose first ``text`` columns are text, some rows marked, some with an id to lead to."""
    names = "".join(f"<th{_class('text' if i < text else '')}>{escaped(name)}</th>" for i, name in enumerate(head))
    lines = []
    for index, cells in enumerate(rows):
        content = "".join(f"<td{_class(name)}>{cell}</td>" for cell, name in cells)
        mark = ' class="chosen"' if index < len(marked) and marked[index] else ""
        anchor = f' id="{escaped(ids[index])}"' if index < len(ids) and ids[index] else ""
        lines.append(f"<tr{anchor}{mark}>{content}</tr>")
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def interval_cell(interval: Interval | None, form: str) -> str:
    """An estimate with its interval below, in a format of Python's for numbers; a dash for ``None``."""
    if interval is None:
        return "–"
    value, ends = interval.texts(form)
    return f"{value}<small>{ends}</small>".replace("-", "−")


def number_cell(value: float | None, form: str) -> str:
    """A number in a format of Python's; a dash for ``None``."""
    return "–" if value is None else format(value, form)


def linked(href: str, content: str) -> str:
    """A link around HTML; a dash leads nowhere."""
    return f'<a href="{escape(href, quote=True)}">{content}</a>' if content != "–" else content


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
