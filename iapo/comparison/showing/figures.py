"""Charts of a comparison as SVG, every mark a link; colors come from the page's style, by class."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from iapo.inspection.figure import Axis

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 14, 44

COLORS = 10
"""Colors of series; the style has as many, ``c0`` to ``c9``, further series are dashed."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """Points of one color.

    Args:
        label: shown where the pointer rests.
        color: index; past `COLORS` they repeat, dashed.
        points: x and y.
        kind: ``line`` joins them, ``faint`` too, thinly; ``dots`` and ``small`` are marks alone.
        bars: for each point how far x and y may be: x low, x high, y low, y high.
        link: where a click leads.
    """

    label: str
    color: int
    points: Sequence[Point]
    kind: str = "line"
    bars: Sequence[tuple[float, float, float, float]] = ()
    link: str = ""


def chart(
    series: Sequence[Series], x_label: str, y_label: str, log_x: bool = False, ticks: Sequence[float] = ()
) -> str:
    """Lines and marks over two axes that fit them.

    Args:
        series: drawn in their order.
        x_label: of the horizontal axis.
        y_label: of the vertical one.
        log_x: horizontal axis in powers of two; a tick at every x.
        ticks: of the horizontal axis; none: round numbers.
    """
    xs = [x for each in series for x, _ in each.points] + [x for each in series for bar in each.bars for x in bar[:2]]
    ys = [y for each in series for _, y in each.points] + [y for each in series for bar in each.bars for y in bar[2:]]
    if not xs:
        return ""
    across = Axis(*_range([math.log2(x) for x in xs] if log_x else xs), WIDTH - RIGHT, LEFT)
    up = Axis(*_range(ys), TOP, HEIGHT - BOTTOM)

    def position(x: float, y: float) -> Point:
        return across(math.log2(x) if log_x else x), up(y)

    x_ticks = [(across(x), f"{x:g}") for x in ticks] or _ticks(across)
    if log_x:
        x_ticks = [(across(math.log2(x)), f"{x:g}") for x in sorted(set(xs))]
    parts = [_frame(x_ticks, _ticks(up), x_label, y_label)]
    for each in series:
        marks = _marks(each, [position(*point) for point in each.points])
        for point, (low_x, high_x, low_y, high_y) in zip(each.points, each.bars, strict=False):
            (x, y), (x1, y1), (x2, y2) = position(*point), position(low_x, low_y), position(high_x, high_y)
            marks += f'<path class="bar" d="M{x1:.1f} {y:.1f}H{x2:.1f}M{x:.1f} {y1:.1f}V{y2:.1f}"/>'
        parts.append(_linked(f'<g class="{color_class(each.color)}">{marks}{_title(each.label)}</g>', each.link))
    label = escape(f"{y_label} against {x_label}", quote=True)
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def color_class(color: int) -> str:
    """The classes that the style gives a color: ``c3``; past `COLORS` the same again, dashed."""
    return f"c{color % COLORS}" + (" dashed" if color >= COLORS else "")


def stacked_bars(rows: Sequence[tuple[str, str, Sequence[tuple[str, float]]]], unit: str) -> str:
    """Horizontal bars, each of the same parts in the same colors, the style's ``k0``, ``k1`` and so on.

    Args:
        rows: label, link, and the parts: name and size.
        unit: of the sizes.
    """
    width, left, row, bottom = 880, 150, 26, 40
    most = max((sum(size for _, size in parts) for _, _, parts in rows), default=0.0)
    if most <= 0:
        return ""
    across = Axis(0.0, most, width - RIGHT, left)
    height = row * len(rows) + bottom
    drawn = []
    for tick in across.ticks(8):
        x = across(tick)
        drawn.append(f'<path class="grid" d="M{x:.1f} 0V{height - bottom}"/>')
        drawn.append(f'<text class="x" x="{x:.1f}" y="{height - bottom + 16}">{tick:g}</text>')
    for index, (label, link, parts) in enumerate(rows):
        y, start, bars = index * row + 4, 0.0, ""
        for number, (name, size) in enumerate(parts):
            x1, x2 = across(start), across(start + size)
            title = _title(f"{label}: {name} {size:.2f}")
            bars += f'<rect class="k{number}" x="{x1:.1f}" y="{y}" width="{x2 - x1:.1f}" height="{row - 8}">'
            bars += f"{title}</rect>"
            start += size
        text = f'<text class="y" x="{left - 8}" y="{y + 13}">{escape(label)}</text>'
        drawn.append(_linked(text + bars, link))
    drawn.append(f'<text class="name" x="{(left + width) / 2:.0f}" y="{height - 6}">{escape(unit)}</text>')
    return f'<svg class="chart wide" viewBox="0 0 {width} {height}" role="img">{"".join(drawn)}</svg>'


def mean_curve(curves: Sequence[Sequence[Point]], points: int = 60) -> list[Point]:
    """The mean of curves over the range of x that all of them have, each read between its points.

    Example:
        >>> mean_curve([[(0, 0), (2, 2)], [(0, 2), (2, 4)]], points=3)
        [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
    """
    curves = [curve for curve in curves if curve]
    if not curves:
        return []
    low, high = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    if not low < high:
        return []
    xs = [low + (high - low) * i / (points - 1) for i in range(points)]
    return [(x, sum(_read(curve, x) for curve in curves) / len(curves)) for x in xs]


def _read(curve: Sequence[Point], x: float) -> float:
    for (x1, y1), (x2, y2) in itertools.pairwise(curve):
        if x <= x2:
            return y2 if x2 == x1 else y1 + (y2 - y1) * max(0.0, x - x1) / (x2 - x1)
    return curve[-1][1]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.05
    return low - room, high + room


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    return [(axis(value), "0" if abs(value) < 1e-12 else f"{value:.6g}") for value in axis.ticks(5)]


def _frame(
    x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_label: str, y_label: str
) -> str:
    bottom, middle = HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2
    lines = [f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>' for y, _ in y_ticks]
    lines += [f'<text class="y" x="{LEFT - 6}" y="{y + 3.5:.1f}">{text}</text>' for y, text in y_ticks]
    lines += [f'<text class="x" x="{x:.1f}" y="{bottom + 16}">{text}</text>' for x, text in x_ticks]
    lines.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>')
    lines.append(f'<text class="name" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}">{escape(x_label)}</text>')
    turned = f'transform="rotate(-90 13 {middle})"'
    lines.append(f'<text class="name" x="13" y="{middle}" {turned}>{escape(y_label)}</text>')
    return "".join(lines)


def _marks(series: Series, points: Sequence[Point]) -> str:
    if series.kind in ("line", "faint"):
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        marks = f'<path class="{series.kind}" d="{path}"/>'
        return marks if series.kind == "faint" or len(points) > 10 else marks + _dots(points, "dot", 2.5)
    return _dots(points, "dot", 5) if series.kind == "dots" else _dots(points, "ring", 3)


def _dots(points: Sequence[Point], name: str, radius: float) -> str:
    return "".join(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>' for x, y in points)


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _linked(content: str, link: str) -> str:
    return f'<a href="{escape(link, quote=True)}">{content}</a>' if link else content
