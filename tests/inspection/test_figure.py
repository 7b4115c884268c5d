"""Axes and curves: round ticks inside the range, positions linear, curves only where probes were taken."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspections import inspections, trace_of

from iapo.inspection import Inspection
from iapo.inspection.figure import BARS_BOTTOM, CURVE_BOTTOM, CURVE_TOP, LEFT, RIGHT, WIDTH, Axis, axes, figure


@given(st.floats(-1e9, 0), st.floats(0, 1e9), st.integers(1, 4))
def test_ticks_are_round_inside_and_enough(low: float, high: float, about: int) -> None:
    high = max(high, low + 1e-6)
    ticks = Axis(low, high, 0.0, 100.0).ticks(about)
    slack = 1e-6 * (high - low)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert about <= len(ticks) <= 3 * about + 3
    assert any(tick == 0 for tick in ticks)
    steps = [after - before for before, after in pairwise(ticks)]
    assert steps == pytest.approx(steps[:1] * len(steps))
    assert all(re.match(r"[125]\.00", f"{step:e}") for step in steps[:1])


@given(inspections())
def test_axes_cover_what_is_drawn_and_zero(inspection: Inspection) -> None:
    curve, bars = axes(inspection)
    for trace in inspection.traces:
        for a, b in trace.spans:
            assert all(CURVE_TOP - 1e-6 <= curve(v) <= CURVE_BOTTOM + 1e-6 for v in trace.probes[a : b + 1])
            assert all(bars(s) <= BARS_BOTTOM + 1e-6 for s in trace.information[a:b])
    assert curve.low <= 0 <= curve.high


def test_the_curve_breaks_where_nothing_was_measured() -> None:
    trace = trace_of(tuple("abcde"), (0.25, 0.25, 9.0, 0.0, 0.5), (True, True, False, False, True))
    inspection = Inspection((trace,))
    drawn = figure(trace, *axes(inspection))
    step = (WIDTH - LEFT - RIGHT) / 5
    lines = re.findall(r'class="curve" d="M([^"]*)"', drawn)
    at = [[float(point.split()[0]) for point in line.split("L")] for line in lines]
    assert at == [
        pytest.approx([LEFT, LEFT + step, LEFT + 2 * step]),
        pytest.approx([LEFT + 4 * step, LEFT + 5 * step]),
    ]
    band = re.findall(r'class="off" x="([\d.]+)" y="\d+" width="([\d.]+)"', drawn)
    assert [tuple(map(float, pair)) for pair in band] == [pytest.approx((LEFT + 2 * step, 2 * step))]
