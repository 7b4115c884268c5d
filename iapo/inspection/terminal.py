"""The inspection in a terminal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from iapo.inspection.figure import Axis, axes
from iapo.inspection.glyphs import number, printable
from iapo.inspection.marked_lines import NOT_MEASURED, TEXT, mark, marked_lines
from iapo.inspection.trace import NOTHING_MEASURED, CompletionTrace, Inspection, strongest, summarize
from iapo.ops.arguments import arguments_named

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_ROWS = 8
_CONTEXT = 3
_BLOCKS = "▁▂▃▄▅▆▇█"

# Steps 1 to 3 color the letters, in tones with 4.5:1 on black and on white; 4 and 5 bring their own background.
_STYLES = {
    1: "#3079ba",
    2: "bold #3079ba",
    3: "bold underline #3079ba",
    4: "bold #ffffff on #2369a6",
    5: "bold #000000 on #5cb3ff",
    -1: "#a8681c",
    -2: "bold #a8681c",
    -3: "bold underline #a8681c",
    -4: "bold #ffffff on #8f5310",
    -5: "bold #000000 on #ffab4a",
}


@arguments_named
def render_terminal(inspection: Inspection, console: "Console") -> None:
    """Write the inspection to a console: every token colored, the probe curve, totals, the strongest tokens.

    Where the console shows no color (a file, a pipe, ``NO_COLOR``), the text stands in lines as it is, and under each
    line digits and letters say what its tokens are worth; the legend explains either. Whitespace that makes up a token,
    newlines and control characters are visible.

    Args:
        inspection: the completions to show.
        console: where to write; its width and colors are honored.

    Raises:
        ModuleNotFoundError: rich is not installed.
    """
    try:
        from rich.rule import Rule
        from rich.text import Text
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("render_terminal needs rich: pip install 'iapo[train]'", name="rich") from error

    plain = console.no_color or console.color_system is None
    curve, _ = axes(inspection)
    console.print(Text(printable(inspection.title), style="bold"))
    for name, value in inspection.metadata.items():
        console.print(Text.assemble((printable(name), "bold"), "  ", printable(value)))
    console.print(Text.assemble("\n", (_visible(inspection.traces[0].prompt), "italic")))
    console.print()
    console.print(_legend(inspection, plain))
    for index, trace in enumerate(inspection.traces):
        console.print()
        console.print(Rule(Text(_heading(index, trace)), align="left", style="none"))
        if not trace.pieces:
            console.print(Text("no token was written"))
        elif plain:
            for line in marked_lines(_marked(inspection, trace), max(8, console.width - len(TEXT))):
                console.print(Text(line, no_wrap=True, overflow="ignore"))
        else:
            console.print(_tokens(inspection, trace))
        if trace.spans:
            console.print()
            console.print(Text(_sparkline(trace, curve, max(8, console.width - 2)), no_wrap=True))
            console.print(Text(_axis(trace, curve)))
            console.print()
            console.print(Text(_totals(inspection, trace)))
            console.print()
            console.print(_table(inspection, trace, plain))
        elif trace.pieces:
            console.print(Text(NOTHING_MEASURED))


def _marked(inspection: Inspection, trace: CompletionTrace) -> Iterator[tuple[str, str]]:
    """What is shown of each token, and the sign of what it is worth."""
    for piece, information, measured in zip(trace.pieces, trace.information, trace.measured, strict=True):
        yield _visible(piece, "↵\n"), mark(inspection.level(information)) if measured else NOT_MEASURED


def _tokens(inspection: Inspection, trace: CompletionTrace) -> "Text":
    from rich.text import Text

    line = Text(overflow="fold")
    for piece, information, measured in zip(trace.pieces, trace.information, trace.measured, strict=True):
        level = inspection.level(information) if measured else 0
        style = _STYLES.get(level) if measured else "italic"
        # Line breaks stay without style: a background would run to the end of the line.
        for part in _visible(piece, "↵\n").splitlines(keepends=True):
            line.append(part.removesuffix("\n"), style)
            line.append("\n" if part.endswith("\n") else "")
    return line


def _visible(piece: str, newline: str = "↵") -> str:
    if piece == "":
        return "◌"
    shown = printable(piece).replace("\n", newline).replace("\t", "⇥")
    return shown.replace(" ", "␣") if piece.isspace() else shown


def _legend(inspection: Inspection, plain: bool) -> "Text":
    from rich.text import Text

    line = Text("under a token, its nats: " if plain else "nats per token  ")
    edges = [f"{edge:g}" for edge in inspection.edges]
    for level in (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5):
        label = (f"≤ −{edges[-level - 1]}" if level < 0 else f"≥ {edges[level - 1]}").replace(" ", "")
        line.append(f"{mark(level)} {label}, " if plain else label, None if plain else _STYLES[level])
        line.append("" if plain else " ")
        if level == -1:
            line.append("nothing in between, " if plain else "0 ")
    return line.append(f"{NOT_MEASURED} not measured" if plain else "not measured", None if plain else "italic")


def _heading(index: int, trace: CompletionTrace) -> str:
    parts = [f"completion {index + 1}"]
    if trace.reward is not None:
        parts.append(f"reward {number(trace.reward, digits=2)}")
    if trace.answer:
        parts.append(f"answer {_visible(trace.answer)}")
    return " · ".join(parts)


def _sparkline(trace: CompletionTrace, axis: Axis, width: int) -> str:
    """Block characters over the token index, as many as fit; the mean of the probes in each, blank if there is none."""
    probed = {t for a, b in trace.spans for t in range(a, b + 1)}
    probes = len(trace.probes)
    columns = min(width, probes)
    cells = []
    for column in range(columns):
        inside = [
            trace.probes[t] for t in range(column * probes // columns, (column + 1) * probes // columns) if t in probed
        ]
        if not inside:
            cells.append(" ")
            continue
        height = (sum(inside) / len(inside) - axis.low) / (axis.high - axis.low)
        cells.append(_BLOCKS[min(7, max(0, int(height * 8)))])
    return "".join(cells)


def _axis(trace: CompletionTrace, axis: Axis) -> str:
    low, high = number(axis.low, digits=2), number(axis.high, digits=2)
    return f"{printable(trace.probe_label)}: ▁ {low} to █ {high}, tokens 0 to {len(trace.pieces) - 1}"


def _totals(inspection: Inspection, trace: CompletionTrace) -> str:
    total = summarize(trace, inspection.edges[0])
    share = f"{100 * (total.near_zero or 0.0):.0f} %"
    per_token = number(total.per_token, sign=True, digits=4)
    return (
        f"{total.tokens} tokens, {total.measured} measured, {share} of these within ±{inspection.edges[0]:g} nats\n"
        f"probe {number(total.first_probe)} → {number(total.last_probe)}, information "
        f"{number(total.information, sign=True)} nats, {per_token} per measured token"
    )


def _table(inspection: Inspection, trace: CompletionTrace, plain: bool) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, justify in (("token", "right"), ("in context", "left"), ("nats", "right"), ("before → after", "right")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for t in (*strongest(trace, _ROWS, 1), *reversed(strongest(trace, _ROWS // 2, -1))):
        context = Text(overflow="ellipsis")
        context.append("".join(map(_visible, trace.pieces[max(0, t - _CONTEXT) : t]))[-24:])
        level = inspection.level(trace.information[t])
        piece = _visible(trace.pieces[t])[:48]
        context.append(f"[{piece}]" if plain else piece, None if plain else _STYLES.get(level, "bold"))
        context.append("".join(map(_visible, trace.pieces[t + 1 : t + 1 + _CONTEXT]))[:24])
        change = f"{number(trace.probes[t])} → {number(trace.probes[t + 1])}"
        table.add_row(str(t), context, number(trace.information[t], sign=True), change)
    return table
