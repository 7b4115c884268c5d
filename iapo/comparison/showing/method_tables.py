"""Tables of a page about the methods, and their columns, which the report has too."""

from collections.abc import Mapping, Sequence

from iapo.comparison.showing.links import anchor
from iapo.comparison.showing.method_summary import MethodSummary
from iapo.comparison.showing.summary import Summary
from iapo.comparison.showing.tables import Cell, html_table, interval_cell, linked, number_cell
from iapo.evaluation import Interval
from iapo.inspection.markup import escaped

Column = tuple[str, str, str]
"""The head of a column, the measure in it, and a format of Python's for numbers."""

DIFFERENCES: Sequence[Column] = (
    ("accuracy", "accuracy", "+.3f"),
    ("accuracy, hardest third", "accuracy_hard", "+.3f"),
    ("mean length", "mean_length", "+.1%"),
    ("area over budgets", "budget_area", "+.3f"),
)
"""The columns of what a method differs in from the reference."""


def measures(k: int) -> list[Column]:
    """The columns of a method's measures, of several samples those at ``k``."""
    return [
        ("accuracy", "accuracy", ".3f"),
        ("mean length", "mean_length", ".1f"),
        ("above shortest", "excess", ".1f"),
        ("accuracy, hardest third", "accuracy_hard", ".3f"),
        (f"Pass@{k}", f"pass@{k}", ".3f"),
        (f"Ratio@{k}", f"ratio@{k}", ".4f"),
        ("greedy accuracy", "greedy_accuracy", ".3f"),
        ("greedy length", "greedy_length", ".1f"),
    ]


def methods(summary: Summary) -> str:
    """Every method with its measures."""
    columns = _known(summary, measures(summary.ks[-1]))
    rows = []
    for method in summary.methods:
        mark = " †" if method.name in summary.front else ""
        cells = [
            (escaped(method.name) + mark, "text"),
            (escaped(method.setting), "text"),
            *_cells(method, method.measures, columns),
        ]
        cells += [
            (linked(anchor(method), number_cell(method.tokens_sampled, ",.0f")), ""),
            (linked(anchor(method), number_cell(method.seconds, ",.0f")), ""),
            (linked(anchor(method), str(len(method.runs))), ""),
        ]
        rows.append(cells)
    head = ["method", "setting", *(name for name, _, _ in columns), "tokens sampled", "seconds", "runs"]
    return html_table(head, rows, text=2)


def lengths(summary: Summary) -> str:
    """Mean length of right and of wrong completions, and the share that was cut before its end."""
    columns = [
        ("mean length", "mean_length", ".1f"),
        ("of right ones", "length_right", ".1f"),
        ("of wrong ones", "length_wrong", ".1f"),
        ("truncated", "truncated", ".1%"),
    ]
    columns = _known(summary, columns)
    rows = [[(escaped(method.name), "text"), *_cells(method, method.measures, columns)] for method in summary.methods]
    return html_table(["method", *(name for name, _, _ in columns)], rows, text=1) if rows else ""


def differences(summary: Summary) -> str:
    """Every method against the reference; empty if the reference has no runs."""
    columns = [column for column in DIFFERENCES if any(column[1] in method.differences for method in summary.methods)]
    rows = [
        [(escaped(method.name), "text"), *_cells(method, method.differences, columns)]
        for method in summary.methods
        if method.differences
    ]
    return html_table(["method", *(name for name, _, _ in columns)], rows, text=1) if rows else ""


def _known(summary: Summary, columns: Sequence[Column]) -> list[Column]:
    """The columns of measures that at least one method has."""
    return [column for column in columns if any(column[1] in method.measures for method in summary.methods)]


def _cells(method: MethodSummary, measures: Mapping[str, Interval], columns: Sequence[Column]) -> list[Cell]:
    return [(linked(anchor(method), interval_cell(measures.get(key), form)), "") for _, key, form in columns]
