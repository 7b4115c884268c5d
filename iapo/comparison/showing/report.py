"""A comparison as Markdown tables and as rows of JSON."""

import json
from collections.abc import Sequence

from iapo.comparison.showing.method_tables import DIFFERENCES, measures
from iapo.comparison.showing.rows import result_row
from iapo.comparison.showing.summary import Summary
from iapo.comparison.showing.tables import number_cell
from iapo.evaluation import Interval
from iapo.inspection.glyphs import printable

_AREA = "Area: the mean accuracy over all budgets from 0 to the largest (linear axis, trapezoid rule)."


def results_json(summary: Summary) -> str:
    """Every finished run as a row: a JSON list, one line each."""
    rows = ",\n".join(
        json.dumps({"task": summary.task, **result_row(result, summary.ks)}) for result in summary.results
    )
    return f"[\n{rows}\n]\n"


def render_report(summary: Summary) -> str:
    """The report as Markdown: methods, differences, budgets, lengths, difficulty, tuning, classes, what is missing."""
    lines = ["# Comparison", "", *(f"- {name}: {value}" for name, value in summary.metadata.items()), ""]
    lines += ["95% intervals over seeds and problems. † on the Pareto front.", "", *_methods_table(summary), ""]
    lines += [f"## Against {summary.reference}", "", *_differences_table(summary), ""]
    if any(method.by_budget for method in summary.methods):
        lines += ["## Accuracy at a budget of reasoning tokens", "", _AREA, "", *_budget_table(summary), ""]
    lines += ["## Right and wrong", "", *_lengths_table(summary), ""]
    if any(method.by_difficulty for method in summary.methods):
        lines += ["## By difficulty", "", *_difficulty_table(summary), ""]
    if summary.tuning:
        lines += ["## Tuning", "", *_tuning_table(summary), ""]
    if any(method.classes for method in summary.methods):
        lines += ["## Tokens by class, mean of a completion", "", *_classes_table(summary), ""]
    if summary.missing or summary.failures:
        lines += ["## Not finished", "", *(f"- {name}" for name in summary.missing), ""]
        for name, message in summary.failures.items():
            lines += [f"{name}:", "", *(f"    {printable(line)}" for line in message.splitlines()), ""]
    return "\n".join(lines)


def ranged(interval: Interval | None, form: str = ".3f") -> str:
    """An estimate and its interval in a format of Python's for numbers; a dash for ``None``.

    Example:
        >>> ranged(Interval(0.5, 0.25, 0.75)), ranged(Interval(0.1, -0.1, 0.3), "+.0%"), ranged(None)
        ('0.500 (0.250 to 0.750)', '+10% (-10% to +30%)', '–')
    """
    return "–" if interval is None else f"{interval:{form}}"


def _methods_table(summary: Summary) -> list[str]:
    columns = measures(summary.ks[-1])
    rows = [
        [
            f"{method.name}{' †' if method.name in summary.front else ''}",
            method.setting,
            *(ranged(method.measures.get(key), form) for _, key, form in columns),
            number_cell(method.tokens_sampled, ".0f"),
            number_cell(method.seconds, ".0f"),
            str(len(method.runs)),
        ]
        for method in summary.methods
    ]
    head = ["method", "setting", *(name for name, _, _ in columns), "tokens sampled", "seconds", "runs"]
    return _markdown(head, rows)


def _differences_table(summary: Summary) -> list[str]:
    rows = [
        [method.name, *(ranged(method.differences.get(key), form) for _, key, form in DIFFERENCES)]
        for method in summary.methods
        if method.differences
    ]
    return _markdown(["method", *(name for name, _, _ in DIFFERENCES)], rows)


def _budget_table(summary: Summary) -> list[str]:
    cut = [method for method in summary.methods if method.by_budget]
    rows = [
        [method.name, ranged(method.measures["budget_area"]), *map(ranged, method.by_budget.values())] for method in cut
    ]
    return _markdown(["method", "area", *map(str, cut[0].by_budget)], rows)


def _lengths_table(summary: Summary) -> list[str]:
    rows = [
        [
            method.name,
            ranged(method.measures.get("length_right"), ".1f"),
            ranged(method.measures.get("length_wrong"), ".1f"),
            ranged(method.measures.get("truncated"), ".1%"),
        ]
        for method in summary.methods
    ]
    return _markdown(["method", "length of right ones", "length of wrong ones", "truncated"], rows)


def _difficulty_table(summary: Summary) -> list[str]:
    levels = sorted({level for method in summary.methods for level in method.by_difficulty})
    rows = [
        [method.name, name, *(ranged(method.by_difficulty[level][part], form) for level in levels)]
        for part, (name, form) in enumerate([("accuracy", ".3f"), ("mean length", ".1f")])
        for method in summary.methods
        if method.by_difficulty
    ]
    return _markdown(["method", "", *(f"{level:g}" for level in levels)], rows)


def _tuning_table(summary: Summary) -> list[str]:
    rows = [
        [
            row.name,
            row.setting,
            "not finished" if row.accuracy is None else f"{row.accuracy:.3f}",
            "–" if row.length is None else f"{row.length:.1f}",
            "chosen" if row.chosen else "",
        ]
        for row in summary.tuning
    ]
    return _markdown(["method", "setting", "accuracy", "mean length", ""], rows)


def _classes_table(summary: Summary) -> list[str]:
    kinds = next(list(method.classes) for method in summary.methods if method.classes)
    rows = [
        [method.name, *(f"{method.classes[kind].value:.2f}" for kind in kinds)]
        for method in summary.methods
        if method.classes
    ]
    return _markdown(["method", *kinds], rows)


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]
