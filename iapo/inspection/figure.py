"""The curves as SVG: probes above, information below, both over the token index."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from iapo.inspection.markup import escaped
from iapo.inspection.trace import CompletionTrace, Inspection, runs

WIDTH, LEFT, RIGHT = 880, 52, 10
CURVE_TOP, CURVE_BOTTOM = 20, 104
BARS_TOP, BARS_BOTTOM = 132, 194
HEIGHT = 216
_THINNEST = 1.2


@dataclass(frozen=True)
class Axis:
    """A linear map from values to the vertical positions of a panel.

    Args:
        low: value at the bottom.
        high: value at the top, above ``low``.
        top: position of ``high``.
        bottom: position of ``low``.
    """

    low: float
    high: float
    top: float
    bottom: float

    def __call__(self, value: float) -> float:
        """Position of a value."""
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def ticks(self, about: int) -> tuple[float, ...]:
        """Round values inside the axis, at least ``about`` steps between its ends."""
        raw = (self.high - self.low) / about
        magnitude = 10.0 ** math.floor(math.log10(raw))
        step = max(m * magnitude for m in (1, 2, 5) if m * magnitude <= raw * 1.001)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return tuple(k * step for k in range(first, last + 1))


def axes(inspection: Inspection) -> tuple[Axis, Axis]:
    """The vertical axes of probes and information, shared by all completions so that they can be compared."""
    probes = [v for trace in inspection.traces for a, b in trace.spans for v in trace.probes[a : b + 1]]
    information = [s for trace in inspection.traces for a, b in trace.spans for s in trace.information[a:b]]
    return (
        Axis(*_range(probes), CURVE_TOP, CURVE_BOTTOM),
        Axis(*_range(information), BARS_TOP, BARS_BOTTOM),
    )


def sparkline(trace: CompletionTrace, axis: Axis) -> str:
    """The probe curve alone, small.

    Args:
        trace: the completion.
        axis: the probe axis of the inspection.
    """
    width, height = 84, 18
    small = Axis(axis.low, axis.high, 1.5, height - 1.5)
    step = (width - 2) / max(1, len(trace.pieces))
    lines = "".join(
        f'<path class="curve" d="{_line((1 + t * step, small(trace.probes[t])) for t in range(a, b + 1))}"/>'
        for a, b in trace.spans
    )
    return f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">{lines}</svg>'


def figure(trace: CompletionTrace, curve: Axis, bars: Axis) -> str:
    """Probe curve and information bars of one completion.

    Token ``t`` takes the strip from ``x(t)`` to ``x(t + 1)``; the probe of ``t`` tokens stands at ``x(t)``.

    Args:
        trace: a completion of at least one token.
        curve: the axis of the probes.
        bars: the axis of the information.
    """
    step = (WIDTH - LEFT - RIGHT) / len(trace.pieces)
    parts = [
        *_grid(curve),
        *_grid(bars),
        *(
            f'<rect class="off" x="{_n(LEFT + a * step)}" y="{CURVE_TOP}" width="{_n((b - a) * step)}" '
            f'height="{BARS_BOTTOM - CURVE_TOP}"/>'
            for a, b in runs(trace.measured, False)
        ),
        f'<rect class="cursor" x="{LEFT}" y="{CURVE_TOP}" width="{_n(max(step, 1.5))}" '
        f'height="{BARS_BOTTOM - CURVE_TOP}"/>',
        *_bars(trace, bars, step),
        *_curve(trace, curve, step),
        f'<text class="name" x="{LEFT}" y="{CURVE_TOP - 8}">{escaped(trace.probe_label)}</text>',
        f'<text class="name" x="{LEFT}" y="{BARS_TOP - 8}">information of each token, nats</text>',
        *_indices(len(trace.pieces), step),
    ]
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" data-left="{LEFT}" data-step="{_n(step, 5)}" role="img" '
        f'aria-label="Probe curve and information bars over {len(trace.pieces)} tokens">{"".join(parts)}</svg>'
    )


def _curve(trace: CompletionTrace, axis: Axis, step: float) -> list[str]:
    zero = axis(0.0)
    parts = []
    for a, b in trace.spans:
        points = [(LEFT + t * step, axis(trace.probes[t])) for t in range(a, b + 1)]
        base = [(points[-1][0], zero), (points[0][0], zero)]
        parts.append(f'<path class="area" d="{_line([*points, *base])}Z"/>')
        parts.append(f'<path class="curve" d="{_line(points)}"/>')
        if step >= 11:
            parts += [f'<circle class="point" cx="{_n(x)}" cy="{_n(y)}" r="2"/>' for x, y in points]
    return parts


def _bars(trace: CompletionTrace, axis: Axis, step: float) -> list[str]:
    zero, gap = axis(0.0), min(0.15 * step, 2.0)
    paths = {"more": "", "less": ""}
    for t, s in enumerate(trace.information):
        if trace.measured[t] and s:
            x, width = LEFT + t * step + gap, max(step - 2 * gap, _THINNEST)
            paths["more" if s > 0 else "less"] += f"M{_n(x)} {_n(zero)}H{_n(x + width)}V{_n(axis(s))}H{_n(x)}Z"
    return [f'<path class="{name}" d="{path}"/>' for name, path in paths.items() if path]


def _grid(axis: Axis) -> Iterable[str]:
    for value in axis.ticks(2):
        y = _n(axis(value))
        kind = "zero" if value == 0 else "grid"
        yield f'<path class="{kind}" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{_n(axis(value) + 3.5)}">{f"{value:g}".replace("-", "−")}</text>'


def _indices(tokens: int, step: float) -> Iterable[str]:
    every = next(m * 10**e for e in range(9) for m in (1, 2, 5) if m * 10**e * step >= 60 or m * 10**e >= tokens)
    for t in range(0, tokens, every):
        yield f'<text class="index" x="{_n(LEFT + (t + 0.5) * step)}" y="{BARS_BOTTOM + 16}">{t}</text>'


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min((0.0, *values)), max((0.0, *values))
    return (low, high) if high - low > 1e-9 else (0.0, 1.0)


def _line(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
