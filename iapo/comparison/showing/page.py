"""A comparison as one HTML page without any outside resource; every number leads to the folder it comes from."""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import quote

from iapo.comparison.running.results import RunResult, evaluation_file
from iapo.comparison.showing.figures import COLORS, Point, Series, chart, mean_curve, stacked_bars
from iapo.comparison.showing.rows import result_row
from iapo.comparison.showing.summary import MethodSummary, Summary, TuningRow
from iapo.comparison.showing.tables import Cell, escaped, html_table, interval_cell, linked, number_cell


def render_page(summary: Summary) -> str:
    """The page: methods, accuracy against length, k, difficulty, token classes, learning, tuning, and every run.

    It loads nothing and has no script; a content security policy allows its own style alone, by its hash. Numbers over
    several runs lead to the table of runs, those of one run to its folder. Equal summaries give equal pages.

    Returns:
        The page, to be written as UTF-8 into the folder of the comparison.
    """
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    metadata = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in summary.metadata.items())
    sections = [
        _section("Methods", _METHODS, _methods(summary)),
        _section("Accuracy against length", _FRONT, _front(summary)),
        _section(f"Against {summary.reference}", _AGAINST, _differences(summary)),
        _section("Several samples", _K, _by_k(summary)),
        _section("By difficulty", "", _by_difficulty(summary)),
        _section("What the tokens do", _CLASSES, _classes(summary)),
        _section("Learning", _LEARNING, _learning(summary)),
        _section("Tuning", "", _tuning(summary)),
        _section("Runs", _RUNS, _runs(summary)),
        _section("Not finished", "", _unfinished(summary)),
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Comparison of {len(summary.methods)} methods</title>
<style>{style}</style>
</head>
<body>
<h1>Comparison</h1>
<dl class="metadata">{metadata}</dl>
{"".join(sections)}
</body>
</html>
"""


_METHODS = (
    "95% bootstrap intervals over seeds and problems. † on the Pareto front of accuracy and mean length. Tokens and "
    "seconds are what a run sampled and took in training, mean over runs."
)
_FRONT = "Discs with bars: methods with their intervals. Rings: single runs. The line joins the Pareto front."
_AGAINST = "Differences with their intervals, problems paired. Those of length are shares of the reference's length."
_K = "Pass@k: at least one of k samples is right (unbiased). Length@k: mean length. Ratio@k: one divided by the other."
_CLASSES = "Mean tokens of each class in a completion."
_LEARNING = "Against the completion tokens sampled so far: the mean over seeds, and each seed thinly."
_RUNS = "Every finished run, also as rows of results.json; each number comes from the folder that it leads to."


def _section(title: str, note: str, content: str) -> str:
    if not content:
        return ""
    return f"<section><h2>{escaped(title)}</h2>{f'<p>{escaped(note)}</p>' if note else ''}{content}</section>\n"


def _methods(summary: Summary) -> str:
    k = summary.ks[-1]
    columns = [
        ("accuracy", "accuracy", ".3f"),
        ("mean length", "mean_length", ".1f"),
        ("above shortest", "excess", ".1f"),
        ("accuracy, hardest third", "accuracy_hard", ".3f"),
        (f"Pass@{k}", f"pass@{k}", ".3f"),
        (f"Ratio@{k}", f"ratio@{k}", ".4f"),
        ("greedy accuracy", "greedy_accuracy", ".3f"),
        ("greedy length", "greedy_length", ".1f"),
    ]
    columns = [column for column in columns if any(column[1] in method.measures for method in summary.methods)]
    rows = []
    for method in summary.methods:
        mark = " †" if method.name in summary.front else ""
        cells = [(escaped(method.name) + mark, "text"), (escaped(method.setting), "text")]
        cells += [
            (linked(_anchor(method), interval_cell(method.measures.get(key), form)), "") for _, key, form in columns
        ]
        cells += [
            (linked(_anchor(method), f"{method.tokens_sampled:,.0f}"), ""),
            (linked(_anchor(method), f"{method.seconds:,.0f}"), ""),
            (linked(_anchor(method), str(len(method.runs))), ""),
        ]
        rows.append(cells)
    head = ["method", "setting", *(name for name, _, _ in columns), "tokens sampled", "seconds", "runs"]
    return html_table(head, rows, text=2)


def _front(summary: Summary) -> str:
    joined = [method for name in summary.front for method in summary.methods if method.name == name]
    series = [Series("Pareto front", 0, [_where(method) for method in joined], "faint")]
    for index, method in enumerate(summary.methods):
        for run in method.runs if len(method.runs) > 1 else ():
            point = float(run.length.mean()), float(run.accuracy.mean())
            series.append(Series(_run_name(run), index, [point], "small", link=_href(run)))
    for index, method in enumerate(summary.methods):
        length, accuracy = method.measures["mean_length"], method.measures["accuracy"]
        bars = [(length.low, length.high, accuracy.low, accuracy.high)]
        series.append(Series(method.name, index, [_where(method)], "dots", bars, link=_anchor(method)))
    drawn = chart(series, "mean length, tokens", "accuracy")
    return f'<div class="charts">{drawn}</div>{_legend(summary)}'


def _differences(summary: Summary) -> str:
    rows = [
        [
            (escaped(method.name), "text"),
            *(
                (linked(_anchor(method), interval_cell(method.differences.get(key), form)), "")
                for key, form in (("accuracy", "+.3f"), ("accuracy_hard", "+.3f"), ("mean_length", "+.1%"))
            ),
        ]
        for method in summary.methods
        if method.differences
    ]
    head = ["method", "accuracy", "accuracy, hardest third", "mean length"]
    return html_table(head, rows, text=1) if rows else ""


def _by_k(summary: Summary) -> str:
    def curves(measure: Callable[[MethodSummary, int], float], label: str) -> str:
        series = [
            Series(method.name, index, [(k, measure(method, k)) for k in summary.ks], link=_anchor(method))
            for index, method in enumerate(summary.methods)
        ]
        return chart(series, "k", label, log_x=True)

    drawn = [
        curves(lambda method, k: method.measures[f"pass@{k}"].value, "Pass@k"),
        curves(lambda method, k: method.measures["mean_length"].value, "Length@k, tokens"),
        curves(lambda method, k: method.measures[f"ratio@{k}"].value, "Ratio@k, 1 / token"),
    ]
    return f'<div class="charts">{"".join(drawn)}</div>{_legend(summary)}'


def _by_difficulty(summary: Summary) -> str:
    def curves(part: int, label: str) -> str:
        series = [
            Series(
                method.name,
                index,
                [(level, pair[part].value) for level, pair in method.by_difficulty.items()],
                bars=[(level, level, pair[part].low, pair[part].high) for level, pair in method.by_difficulty.items()],
                link=_anchor(method),
            )
            for index, method in enumerate(summary.methods)
        ]
        return chart(series, "difficulty", label)

    if not any(method.by_difficulty for method in summary.methods):
        return ""
    return f'<div class="charts">{curves(0, "accuracy")}{curves(1, "mean length, tokens")}</div>{_legend(summary)}'


def _classes(summary: Summary) -> str:
    methods = [method for method in summary.methods if method.classes]
    if not methods:
        return ""
    kinds = list(methods[0].classes)
    bars = [
        (method.name, _anchor(method), [(kind, method.classes[kind].value) for kind in kinds]) for method in methods
    ]
    legend = "".join(f'<li class="k{index}">{escaped(kind)}</li>' for index, kind in enumerate(kinds))
    rows = [
        [
            (escaped(m.name), "text"),
            *((linked(_anchor(m), interval_cell(m.classes[kind], ".2f")), "") for kind in kinds),
        ]
        for m in methods
    ]
    drawn = stacked_bars(bars, "tokens of a completion")
    return f'{drawn}<ul class="legend">{legend}</ul>{html_table(["method", *kinds], rows, text=1)}'


def _learning(summary: Summary) -> str:
    def curves(name: str, label: str) -> str:
        thin, thick = [], []
        for index, method in enumerate(summary.methods):
            each = [(run, _curve(run, name)) for run in method.runs]
            if len(each) > 1:
                thin += [Series(_run_name(r), index, c, "faint", link=_href(r)) for r, c in each if c]
            if mean := mean_curve([curve for _, curve in each]):
                thick.append(Series(method.name, index, mean, link=_anchor(method)))
        return chart([*thin, *thick], "tokens sampled, thousands", label)

    drawn = curves("reward", "reward"), curves("completions/mean_length", "mean length, tokens")
    return f'<div class="charts">{"".join(drawn)}</div>{_legend(summary)}' if any(drawn) else ""


def _curve(run: RunResult, name: str) -> list[Point]:
    tokens, points = 0.0, []
    for step in run.steps:
        tokens += step["num_tokens"] / 1000
        if name in step:
            points.append((tokens, step[name]))
    return points


def _tuning(summary: Summary) -> str:
    def row(entry: TuningRow) -> list[Cell]:
        runs = " ".join(linked(_href(run), f"seed {run.seed}") for run in entry.runs)
        first = _href(entry.runs[0]) if entry.runs else ""
        return [
            (escaped(entry.name), "text"),
            (escaped(entry.setting), "text"),
            ("not finished" if entry.accuracy is None else linked(first, f"{entry.accuracy:.3f}"), ""),
            ("–" if entry.length is None else linked(first, f"{entry.length:.1f}"), ""),
            ("chosen" if entry.chosen else "", "text"),
            (runs, "text"),
        ]

    head = ["method", "setting", "accuracy", "mean length", "", "runs"]
    marked = [entry.chosen for entry in summary.tuning]
    return html_table(head, [row(entry) for entry in summary.tuning], text=2, marked=marked) if summary.tuning else ""


def _runs(summary: Summary) -> str:
    k = summary.ks[-1]
    rows, ids, seen = [], [], set[tuple[str, str]]()
    for run in summary.results:
        row, href = result_row(run, summary.ks), _href(run)
        ids.append("" if run.split != "test" or (run.name, run.split) in seen else f"runs-{run.name}")
        seen.add((run.name, run.split))
        numbers = [
            f"{row['accuracy']:.3f}",
            f"{row['mean_length']:.2f}",
            "–" if row["accuracy_hard"] is None else f"{row['accuracy_hard']:.3f}",
            number_cell(row["pass_at_k"].get(str(k)), 3),
            number_cell(row["ratio_at_k"].get(str(k)), 4),
            f"{row['greedy_accuracy']:.3f}",
            f"{row['greedy_length']:.2f}",
            f"{row['tokens_sampled']:,}",
            f"{row['seconds']:,.0f}",
        ]
        texts = [run.name, run.method, run.preset, run.setting]
        cells = [(escaped(text), "text") for text in texts] + [(linked(href, str(run.seed)), ""), (run.split, "text")]
        rows.append(cells + [(linked(href + evaluation_file(run.split), number), "") for number in numbers[:7]])
        rows[-1] += [(linked(href, number), "") for number in numbers[7:]]
    head = ["entry", "method", "preset", "setting", "seed", "split", "accuracy", "mean length", "hardest third"]
    head += [f"Pass@{k}", f"Ratio@{k}", "greedy accuracy", "greedy length", "tokens sampled", "seconds"]
    return html_table(head, rows, text=4, ids=ids) if rows else ""


def _unfinished(summary: Summary) -> str:
    listed = "".join(f"<li>{escaped(name)}</li>" for name in summary.missing)
    failed = "".join(f"<p>{escaped(n)}</p><pre>{escaped(message)}</pre>" for n, message in summary.failures.items())
    return (f"<ul>{listed}</ul>" if listed else "") + failed


def _legend(summary: Summary) -> str:
    items = "".join(
        f'<li class="c{index % COLORS}{" dashed" if index >= COLORS else ""}">{escaped(method.name)}</li>'
        for index, method in enumerate(summary.methods)
    )
    return f'<ul class="legend">{items}</ul>'


def _where(method: MethodSummary) -> Point:
    return method.measures["mean_length"].value, method.measures["accuracy"].value


def _run_name(run: RunResult) -> str:
    return f"{run.name}, seed {run.seed}"


def _href(run: RunResult) -> str:
    return f"{quote(run.folder)}/"


def _anchor(method: MethodSummary) -> str:
    return f"#runs-{method.name}"
