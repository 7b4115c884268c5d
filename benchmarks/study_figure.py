"""Accuracy against length, of the tables of `docs/study`: a panel a table, every method by its name.

    python benchmarks/study_figure.py docs/study/embedded.md docs/study/embedded-shortcuts.md \\
        docs/study/embedded-choices.md --figure docs/study/accuracy_length.png
    python benchmarks/study_figure.py docs/study/embedded-leave-out.md docs/study/embedded-shortcuts-leave-out.md \\
        --figure docs/study/leave_out.png
    python benchmarks/study_figure.py docs/study/smollm2-sums.md docs/study/smollm2-words.md \\
        --figure docs/study/smollm2.png

The tables are written by `benchmarks/study.py`, with the intervals that are drawn here. Names stand at the side,
each at the end of a line from its point.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from iapo.evaluation import Interval

FAMILIES = {
    "base": ("base",),
    "outcome only": ("grpo", "dr_grpo", "dapo", "gtpo", "gfpo", "s_grpo", "grpo_capped"),
    "price on length": ("kimi", "l1", "arora_zanette", "shorter_better", "dler"),
    "control": ("permuted", "random", "leave_out_permuted"),
    "what could be left out": ("leave_out",),
}
"""Methods by the first words of their names, the first family that fits; others are information about the answer."""

LOOKS = {
    "base": ("*", "#707070"),
    "outcome only": ("o", "#3b6ea8"),
    "price on length": ("s", "#c8701a"),
    "information about the answer": ("D", "#3c8a4e"),
    "what could be left out": ("^", "#b03060"),
    "control": ("X", "#8060a8"),
}

_INTERVAL = re.compile(r"(-?[\d.]+) \((-?[\d.]+) to (-?[\d.]+)\)")


@dataclass(frozen=True)
class Point:
    """A method in the plane; lengths in tokens. ``shortest`` is the shortest sufficient length, where it is known."""

    name: str
    accuracy: Interval
    length: Interval
    shortest: float | None

    @property
    def family(self) -> str:
        for family, names in FAMILIES.items():
            if any(self.name == name or self.name.startswith((f"{name}_", f"{name},")) for name in names):
                return family
        return "information about the answer"


def read_points(table: str) -> list[Point]:
    """The rows of the first table of a report of `iapo compare` that has a column ``mean length``.

    Raises:
        ValueError: there is none, or a row without intervals.
    """
    lines = table.splitlines()
    start = next((i for i, line in enumerate(lines) if "| accuracy |" in line and "| mean length |" in line), None)
    if start is None:
        raise ValueError("table: no columns accuracy and mean length, want a report of iapo compare")
    columns = [cell.strip() for cell in lines[start].strip("|").split("|")]
    points = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        row = dict(zip(columns, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        accuracy, length, above = (_interval(row.get(of, "")) for of in ("accuracy", "mean length", "above shortest"))
        if accuracy is None or length is None:
            raise ValueError(f"table: {row['method']} has no intervals, want a report of iapo compare")
        shortest = None if above is None else length.value - above.value
        points.append(Point(row["method"].rstrip(" †"), accuracy, length, shortest))
    return points


def _interval(cell: str) -> Interval | None:
    found = _INTERVAL.match(cell)
    return None if found is None else Interval(*map(float, found.groups()))


def spread(wanted: list[float], gap: float) -> list[float]:
    """Places as near to the wanted ones as can be, in their order, at least ``gap`` apart and within 0 and 1.

    Example:
        >>> [round(place, 2) for place in spread([0.5, 0.52, 0.9], 0.1)]
        [0.46, 0.56, 0.9]
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    runs: list[tuple[float, int]] = []  # of places that touch: the sum of where the first wants to be, and how many

    def first(run: tuple[float, int]) -> float:
        total, count = run
        return min(max(total / count, 0.0), 1.0 - (count - 1) * gap)

    for index in order:
        runs.append((wanted[index], 1))
        while len(runs) > 1 and first(runs[-1]) < first(runs[-2]) + runs[-2][1] * gap:
            total, count = runs.pop()
            before, others = runs.pop()
            runs.append((before + total - count * others * gap, others + count))
    places = [first(run) + k * gap for run in runs for k in range(run[1])]
    return [places[order.index(index)] for index in range(len(wanted))]


def draw(axes: Axes, title: str, points: list[Point]) -> None:
    """One panel; accuracy by its log odds, as most are near 1."""
    low, high = min(p.length.low for p in points), max(p.length.high for p in points)
    margin = 0.3 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_yscale("logit")
    axes.set_ylim(0.97 * min(p.accuracy.low for p in points), 1 - 0.6 * (1 - max(p.accuracy.high for p in points)))
    for point in points:
        marker, color = LOOKS[point.family]
        at, length, accuracy = (point.length.value, point.accuracy.value), point.length, point.accuracy
        axes.errorbar(
            *at,
            xerr=[[length.value - length.low], [length.high - length.value]],
            yerr=[[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]],
            fmt=marker,
            color=color,
            alpha=0.8,
            elinewidth=0.8,
            markersize=9 if marker == "*" else 5.5,
        )
    middle = (min(p.length.value for p in points) + max(p.length.value for p in points)) / 2
    for left in (True, False):
        side = [point for point in points if (point.length.value < middle) == left]
        log_odds = torch.logit(torch.tensor([[*axes.get_ylim(), *(p.accuracy.value for p in side)]]))[0]
        heights = ((log_odds[2:] - log_odds[0]) / (log_odds[1] - log_odds[0])).tolist()
        for point, place in zip(side, spread(heights, 0.042), strict=True):
            axes.annotate(
                point.name,
                (point.length.value, point.accuracy.value),
                (0.01 if left else 0.99, 0.02 + 0.96 * place),
                textcoords="axes fraction",
                ha="left" if left else "right",
                va="center",
                fontsize="small",
                color=LOOKS[point.family][1],
                arrowprops={"arrowstyle": "-", "color": LOOKS[point.family][1], "linewidth": 0.4, "alpha": 0.6},
            )
    if points[0].shortest is not None:
        axes.axvline(points[0].shortest, color="grey", linestyle=":")
    axes.yaxis.set_major_locator(FixedLocator([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99]))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set(title=title, xlabel="mean length, tokens", ylabel="accuracy")


def plot(panels: dict[str, list[Point]], path: Path) -> None:
    """Every panel, one below the other, with one legend of the families that are in them."""
    figure = Figure(figsize=(9, 5.4 * len(panels) + 0.4), layout="constrained")
    for axes, (title, points) in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels.items(), strict=True):
        draw(axes, title, points)
    shown = {point.family for points in panels.values() for point in points}
    marks = [Line2D([], [], marker=m, color=c, linestyle="", label=f) for f, (m, c) in LOOKS.items() if f in shown]
    if any(points[0].shortest is not None for points in panels.values()):
        marks.append(Line2D([], [], color="grey", linestyle=":", label="shortest sufficient"))
    figure.legend(handles=marks, loc="outside upper center", ncols=4, fontsize="small", frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Draw the tables that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", type=Path, nargs="+", help="reports of `iapo compare`, in Markdown")
    parser.add_argument("--figure", type=Path, required=True, help="the file to write")
    settings = parser.parse_args()
    plot({table.stem: read_points(table.read_text()) for table in settings.tables}, settings.figure)


if __name__ == "__main__":
    main()
