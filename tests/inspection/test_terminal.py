"""The terminal: complete with and without color, and deaf to what token text would make a terminal do."""

import io
import re
import sys
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from inspections import contrast, inspections, trace_of

from iapo.inspection import Inspection, render_terminal
from iapo.inspection.marked_lines import MARKS, NOT_MEASURED, TEXT, mark
from iapo.inspection.terminal import _STYLES, _visible

console_module = pytest.importorskip("rich.console")
cell_len = pytest.importorskip("rich.cells").cell_len


def rendered(inspection: Inspection, **options: object) -> str:
    stream = io.StringIO()
    options = {"width": 100, "force_terminal": False, "_environ": {}} | options
    render_terminal(inspection, console_module.Console(file=stream, **options))
    return stream.getvalue()


@given(inspections())
@settings(max_examples=60, deadline=None)
def test_any_inspection_renders_and_nothing_acts(inspection: Inspection) -> None:
    for options in ({}, {"force_terminal": True, "color_system": "truecolor"}, {"width": 20}):
        output = rendered(inspection, **options)
        assert output == rendered(inspection, **options)
        without_styles = re.sub(r"\x1b\[[\d;]*m", "", output)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", without_styles)


@given(inspections())
@example(Inspection((trace_of((" \n<", " \n", "a\rb\n"), (0.0,) * 3, (False,) * 3),)))
@settings(max_examples=40, deadline=None)
def test_tokens_are_complete(inspection: Inspection) -> None:
    lines = [line[len(TEXT) :] for line in rendered(inspection, width=40).splitlines() if line.startswith(TEXT)]
    shown = re.sub(r"\s", "", "".join(lines))
    assert shown == re.sub(r"\s", "", "".join(_visible(piece) for t in inspection.traces for piece in t.pieces))


@given(inspections())
@settings(max_examples=40, deadline=None)
def test_every_measured_token_that_is_worth_something_is_marked_once(inspection: Inspection) -> None:
    lines = rendered(inspection, width=40).splitlines()
    marks = [below[len(MARKS) :] for line, below in pairwise(lines) if line.startswith(TEXT) and below[:1] == " "]
    wanted = [
        mark(inspection.level(value)) if measured else NOT_MEASURED
        for trace in inspection.traces
        for value, measured, piece in zip(trace.information, trace.measured, trace.pieces, strict=True)
        if cell_len(_visible(piece))
    ]
    assert re.sub(r"\s", "", "".join(marks)) == "".join(wanted).replace(" ", "")


def test_spaces_are_visible_in_tokens_of_nothing_else() -> None:
    trace = trace_of((" \n<", " \n", "a\rb\n", "end"), (0.0,) * 4, (True,) * 4)
    wanted = [" ↵", "<␣↵", "a␍b↵", "end"]
    plain = [line.removeprefix(TEXT) for line in rendered(Inspection((trace,))).splitlines() if line.startswith(TEXT)]
    assert plain == wanted
    colored = rendered(Inspection((trace,)), force_terminal=True, color_system="truecolor").splitlines()
    start = colored.index(wanted[0])
    assert colored[start : start + 4] == wanted


def test_colors_follow_the_information() -> None:
    trace = trace_of(("up", "down", "flat", "off"), (2.0, -0.02, 0.0, 2.0), (True, True, True, False))
    output = rendered(Inspection((trace,)), force_terminal=True, color_system="truecolor")
    line = next(line for line in output.splitlines() if "up" in line and "off" in line)
    assert line.startswith("\x1b[1;38;2;0;0;0;48;2;92;179;255mup\x1b[0m")
    assert "\x1b[38;2;168;104;28mdown\x1b[0mflat\x1b[3moff\x1b[0m" in line


@pytest.mark.parametrize(
    "options", [{}, {"force_terminal": True, "no_color": True}, {"force_terminal": True, "_environ": {"NO_COLOR": "1"}}]
)
def test_marks_stand_for_colors(options: dict[str, object]) -> None:
    trace = trace_of(("up", "down", "flat", "off"), (2.0, -0.05, 0.0, 2.0), (True, True, True, False))
    plain = re.sub(r"\x1b\[[\d;]*m", "", rendered(Inspection((trace,)), **options))
    assert "│ updownflatoff\n  5 b       ·" in plain
    legend = plain[plain.index("under a token") : plain.index("completion 1")].replace("\n", " ")
    assert "5 ≥1," in legend, legend
    assert "[up]downflat" in plain, "the table of the strongest"


@pytest.mark.parametrize("style", _STYLES.values())
def test_contrast_is_wcag_aa_on_any_terminal(style: str) -> None:
    colors = re.findall(r"#\w{6}", style)
    grounds = colors[1:] or ["#ffffff", "#000000"]
    assert min(contrast(colors[0], ground) for ground in grounds) >= 4.5


def test_marks_are_absent_where_there_is_color() -> None:
    trace = trace_of(("up",), (2.0,))
    output = rendered(Inspection((trace,)), force_terminal=True, color_system="256")
    assert "│" not in output
    assert "nats per token" in output


def test_whitespace_and_totals_are_visible() -> None:
    trace = trace_of((" ", "a\n\nb", "", "\t"), (0.5, 0.25, 0.0, -0.125), prompt="[b]1+1\t=")
    output = rendered(Inspection((trace,), {"model": "[bold]tiny[/]"}, title="Sums"))
    assert output.startswith("Sums\nmodel  [bold]tiny[/]\n\n[b]1+1⇥=\n\n")
    assert "│ ␣a↵\n  43\n│ ↵\n│ b◌⇥\n   " in output
    assert "4 tokens, 4 measured, 25 % of these within ±0.01 nats" in output
    assert "probe 1.000 → 0.375, information +0.625 nats, +0.1562 per measured token" in output
    assert "█▅▃▃▄" in output


def test_a_completion_with_nothing_to_probe_names_what_may_help() -> None:
    output = rendered(Inspection((trace_of(("a",), (0.0,), measured=(False,)),)), width=200)
    assert "(--reasoning_style, --answer_style; if it was cut, --sampler.max_new_tokens)" in output


def test_without_rich_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich.rule", "rich.text"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"iapo\[train\]"):
        render_terminal(Inspection((trace_of(("a",), (0.1,)),)), None)  # type: ignore[arg-type]
