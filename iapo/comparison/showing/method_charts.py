"""Charts of a page about the methods, some with the table of their numbers."""

import math
from collections.abc import Callable

from iapo.comparison.running.results import RunResult
from iapo.comparison.showing.figures import Point, Series, chart, mean_curve, stacked_bars
from iapo.comparison.showing.links import anchor, href, legend, run_name
from iapo.comparison.showing.method_summary import MethodSummary
from iapo.comparison.showing.summary import Summary
from iapo.comparison.showing.tables import html_table, interval_cell, linked
from iapo.inspection.markup import escaped


def front(summary: Summary) -> str:
    """Accuracy against mean length: every method with its intervals, every run, and the Pareto front."""
    joined = [method for name in summary.front for method in summary.methods if method.name == name]
    series = [Series("Pareto front", 0, [_where(method) for method in joined], "faint")]
    for index, method in enumerate(summary.methods):
        for run in method.runs if len(method.runs) > 1 else ():
            point = float(run.length.mean()), float(run.accuracy.mean())
            series.append(Series(run_name(run), index, [point], "small", link=href(run)))
    for index, method in enumerate(summary.methods):
        length, accuracy = method.measures["mean_length"], method.measures["accuracy"]
        bars = [(length.low, length.high, accuracy.low, accuracy.high)]
        series.append(Series(method.name, index, [_where(method)], "dots", bars, link=anchor(method)))
    drawn = chart(series, "mean length, tokens", "accuracy")
    return f'<div class="charts">{drawn}</div>{legend(summary)}'


def by_budget(summary: Summary) -> str:
    """Accuracy with the reasoning cut at budgets, and the area below; empty if it was not measured."""
    cut = [(index, method) for index, method in enumerate(summary.methods) if method.by_budget]
    if not cut:
        return ""
    series = [
        Series(
            method.name,
            index,
            [(budget, accuracy.value) for budget, accuracy in method.by_budget.items()],
            bars=[(budget, budget, accuracy.low, accuracy.high) for budget, accuracy in method.by_budget.items()],
            link=anchor(method),
        )
        for index, method in cut
    ]
    budgets = list(cut[0][1].by_budget)
    rows = [
        [
            (escaped(method.name), "text"),
            (linked(anchor(method), interval_cell(method.measures["budget_area"], ".3f")), ""),
            *((linked(anchor(method), interval_cell(method.by_budget[budget], ".3f")), "") for budget in budgets),
        ]
        for _, method in cut
    ]
    drawn = chart(series, "budget, reasoning tokens", "accuracy")
    table = html_table(["method", "area", *map(str, budgets)], rows, text=1)
    return f'<div class="charts">{drawn}</div>{legend(summary)}{table}'


def by_k(summary: Summary) -> str:
    """Pass@k, Length@k and Ratio@k."""

    def curves(name: Callable[[int], str], label: str) -> str:
        series = []
        for index, method in enumerate(summary.methods):
            found = [(k, method.measures.get(name(k))) for k in summary.ks]
            points = [(k, each.value) for k, each in found if each is not None]
            series += [Series(method.name, index, points, link=anchor(method))] if points else []
        return chart(series, "k", label, log_x=True)

    drawn = [
        curves(lambda k: f"pass@{k}", "Pass@k"),
        curves(lambda k: "mean_length", "Length@k, tokens"),
        curves(lambda k: f"ratio@{k}", "Ratio@k, 1 / token"),
    ]
    return f'<div class="charts">{"".join(drawn)}</div>{legend(summary)}'


def by_difficulty(summary: Summary) -> str:
    """Accuracy and mean length by difficulty; empty if the data have none."""

    levels = sorted({level for method in summary.methods for level in method.by_difficulty})
    step = min(0.12, 0.6 / max(1, len(summary.methods)))  # side by side, so that no bar covers another

    def curves(part: int, label: str) -> str:
        series = []
        for index, method in enumerate(summary.methods):
            aside = step * (index - (len(summary.methods) - 1) / 2)
            found = [(level + aside, pair[part]) for level, pair in method.by_difficulty.items()]
            points, bars = [(x, of.value) for x, of in found], [(x, x, of.low, of.high) for x, of in found]
            series.append(Series(method.name, index, points, bars=bars, link=anchor(method)))
        return chart(series, "difficulty", label, ticks=levels)

    if not any(method.by_difficulty for method in summary.methods):
        return ""
    return f'<div class="charts">{curves(0, "accuracy")}{curves(1, "mean length, tokens")}</div>{legend(summary)}'


def classes(summary: Summary) -> str:
    """Tokens of each class in a completion; empty if the task labels none."""
    methods = [method for method in summary.methods if method.classes]
    if not methods:
        return ""
    kinds = list(methods[0].classes)
    bars = [(method.name, anchor(method), [(kind, method.classes[kind].value) for kind in kinds]) for method in methods]
    legend = "".join(f'<li class="k{index}">{escaped(kind)}</li>' for index, kind in enumerate(kinds))
    rows = [
        [
            (escaped(m.name), "text"),
            *((linked(anchor(m), interval_cell(m.classes[kind], ".2f")), "") for kind in kinds),
        ]
        for m in methods
    ]
    drawn = stacked_bars(bars, "tokens of a completion")
    table = html_table(["method", *kinds], rows, text=1)
    return f'<div class="scroll">{drawn}</div><ul class="legend">{legend}</ul>{table}'


def learning(summary: Summary) -> str:
    """Reward and mean length over the tokens sampled; empty if nothing was trained."""

    def curves(name: str, label: str) -> str:
        thin, thick = [], []
        for index, method in enumerate(summary.methods):
            each = [(run, _curve(run, name)) for run in method.runs]
            if len(each) > 1:
                thin += [Series(run_name(r), index, c, "faint", link=href(r)) for r, c in each if c]
            if mean := mean_curve([curve for _, curve in each]):
                thick.append(Series(method.name, index, mean, link=anchor(method)))
        return chart([*thin, *thick], "tokens sampled, thousands", label)

    drawn = curves("reward", "reward"), curves("completions/mean_length", "mean length, tokens")
    return f'<div class="charts">{"".join(drawn)}</div>{legend(summary)}' if any(drawn) else ""


def _curve(run: RunResult, name: str) -> list[Point]:
    tokens, points = 0.0, []
    for step in run.steps or ():
        tokens += step["num_tokens"] / 1000
        if math.isfinite(step.get(name, math.nan)):
            points.append((tokens, step[name]))
    return points


def _where(method: MethodSummary) -> Point:
    return method.measures["mean_length"].value, method.measures["accuracy"].value
