"""The report of a run: what happened, before and after, whichever way it went."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iapo.evaluation import EvaluationResult, Sample, change, markdown_table
from iapo.ops.shell import quoted_path
from iapo.ops.text_files import write_text, writing
from iapo.training.reporting.quoting import quoted

REPORT = "report.md"
"""The file that a finished run has."""

FIGURES = ("curves.png", "before_after.png")
"""The pictures in it."""

_CURVES = (
    ("reward", "reward"),
    ("completions/mean_length", "completion length, tokens"),
    ("entropy", "policy entropy, nats"),
)
_COLOR = "#3b6ea8"
_DIAGNOSED = "iapo/time/diagnose"
"""The metric that an update has if it was diagnosed."""


def write_report(
    folder: Path,
    metadata: Mapping[str, Any],
    metrics: Sequence[Mapping[str, float]],
    before: EvaluationResult,
    after: EvaluationResult,
    samples: Sequence[Sample] = (),
) -> Path:
    """Write ``report.md`` and its plots into a run folder.

    Args:
        folder: the run folder.
        metadata: what the reader needs to know about the run, by name.
        metrics: one mapping per step, as logged.
        before: evaluation of the policy before training.
        after: evaluation after it, on the same problems.
        samples: of the evaluation after it; three of them are quoted.

    Returns:
        The path of ``report.md``.
    """
    plot_curves(metrics, folder / FIGURES[0])
    plot_before_after(before, after, folder / FIGURES[1])
    lines = ["# Report", "", *(f"- {name}: {value}" for name, value in metadata.items()), ""]
    lines += ["## Before and after, on problems held out from training", "", *verdict(before, after), ""]
    lines += [markdown_table({"before": before, "after": after}), ""]
    lines += ["![accuracy against length](before_after.png)", ""]
    lines += quoted(samples, f"iapo show {quoted_path(folder)}")
    lines += ["## Training", "", "![curves](curves.png)", "", *_about_curves(metrics), *time_table(metrics)]
    path = folder / REPORT
    write_text(path, "\n".join(lines) + "\n")
    return path


def verdict(before: EvaluationResult, after: EvaluationResult) -> list[str]:
    """One line each for accuracy and length: the change, its 95% interval, and whether that excludes zero."""
    lines, changes = [], change(before, after)
    for name, unit in (("accuracy", ""), ("length", " tokens")):
        moved = changes[name]
        clear = "" if moved.low > 0 or moved.high < 0 else "; the interval includes no change"
        value, ends = moved.texts("+.3g")
        lines.append(f"- {name}: {value}{unit} (95% interval {ends}, bootstrap over problems{clear})")
    return lines


def time_table(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    """Where the time went, as Markdown: mean seconds of each part of an update, of updates that were not diagnosed.

    Those that were are in a column of their own: a diagnosis takes longer than the update.
    """
    plain = [row for row in metrics if _DIAGNOSED not in row]
    columns = {"plain": plain, "diagnosed": [row for row in metrics if _DIAGNOSED in row]}
    shown = {name: rows for name, rows in columns.items() if rows}
    parts = sorted({name for row in metrics for name in row if name.startswith("iapo/time/")})
    counts = [f"{name}, mean of {len(rows)}" for name, rows in shown.items()]
    table = [f"| seconds per update | {' | '.join(counts)} |", "|---" * (len(shown) + 1) + "|"]
    for name in [*parts, "step_time"]:
        means = [_mean([row[name] for row in rows if name in row]) for rows in shown.values()]
        table.append(f"| {'all' if name == 'step_time' else name.rpartition('/')[2]} | {' | '.join(means)} |")
    return table if shown else []


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f}" if values else "–"


def plot_curves(metrics: Sequence[Mapping[str, float]], path: Path) -> None:
    """Reward, length and entropy against the step, as a PNG: each step's, pale, and their running mean."""
    figure, axes = _figure(len(_CURVES))
    window = smoothing_window(len(metrics))
    for axis, (name, label) in zip(axes, _CURVES, strict=True):
        points = [(row["step"], row[name]) for row in metrics if name in row]
        if points:
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, color=_COLOR, linewidth=1, alpha=0.35 if window > 1 else 1)
        if points and window > 1:
            axis.plot(steps, smoothed(values, window), color=_COLOR, linewidth=1.8)
        axis.set_xlabel("step")
        axis.set_ylabel(label)
    _save(figure, path)


def smoothing_window(steps: int) -> int:
    """Steps of the running mean in plots: a twelfth of the run, odd; 1, which smooths nothing, below 24 steps."""
    return steps // 24 * 2 + 1


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and its neighbors, ``window`` in all, fewer at the ends, where it stays symmetric.

    Example:
        >>> smoothed([0.0, 3.0, 6.0, 0.0], 3)
        [0.0, 3.0, 3.0, 0.0]
    """
    means = []
    for index in range(len(values)):
        reach = min(window // 2, index, len(values) - 1 - index)
        near = values[index - reach : index + reach + 1]
        means.append(sum(near) / len(near))
    return means


def _about_curves(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    window = smoothing_window(len(metrics))
    return [f"Pale: each update; strong: the mean of {window} updates around it.", ""] if window > 1 else []


def plot_before_after(before: EvaluationResult, after: EvaluationResult, path: Path) -> None:
    """Accuracy against mean length before and after with 95% intervals, as a PNG."""
    figure, (axis,) = _figure(1)
    for result, label, color in ((before, "before", "#8a8a8a"), (after, "after", "#c2571a")):
        measures = result.measures()
        length, accuracy = measures["length"], measures["accuracy"]
        axis.errorbar(
            length.value,
            accuracy.value,
            xerr=[[length.value - length.low], [length.high - length.value]],
            yerr=[[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]],
            fmt="o",
            color=color,
            label=label,
            capsize=3,
        )
    axis.set_xlabel("mean completion length, tokens")
    axis.set_ylabel("accuracy (sampled)")
    axis.legend(frameon=False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with writing(path):
        figure.savefig(path, dpi=120)


def _figure(columns: int) -> tuple[Any, Any]:
    """A figure that needs no display and leaves no global state behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * columns, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, axes
