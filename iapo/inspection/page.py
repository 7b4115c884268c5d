"""The inspection as one HTML page without any outside resource."""

import json
from importlib.resources import files

from iapo.inspection.figure import Axis, axes, figure, sparkline
from iapo.inspection.glyphs import number, printable
from iapo.inspection.markup import escaped, policy_source
from iapo.inspection.trace import NOTHING_MEASURED, CompletionTrace, Inspection, strongest, summarize
from iapo.ops.arguments import arguments_named

_ROWS = 8
_CONTEXT = 3


@arguments_named
def render_html(inspection: Inspection) -> str:
    """One self-contained page: every token shaded by its information, the probe curve and the information below.

    The page loads nothing. All text is escaped, and a content security policy allows the page's own script alone, by
    its hash, so that hostile token text is inert twice over. Equal inspections give equal pages.

    Args:
        inspection: the completions to show.

    Returns:
        The page, to be written as UTF-8.

    Example:
        >>> trace = CompletionTrace("2+3=", ("5",), (0.5,), (0.5, 0.0), "H(answer | prefix), nats", (True,))
        >>> page = render_html(Inspection((trace,), {"model": "tiny"}))
        >>> page.startswith("<!doctype html>"), "https:" in page
        (True, False)
    """
    style, script = _package_text("page.css"), _package_text("page.js")
    curve, bars = axes(inspection)
    sections = "\n".join(
        _completion(inspection, index, trace, curve, bars) for index, trace in enumerate(inspection.traces)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src {policy_source(style)}; \
script-src {policy_source(script)}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(inspection.title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<div class="masthead"><h1>{escaped(inspection.title)}</h1><button class="theme" type="button" hidden>Dark</button></div>
{_metadata(inspection)}
</header>
<main>
<section class="prompt" aria-label="Prompt"><h2>Prompt</h2><pre>{escaped(inspection.traces[0].prompt)}</pre></section>
{_note(inspection)}
{_legend(inspection)}
{_tabs(inspection, curve)}
{sections}
</main>
<footer><p>All values in nats. <span class="keys">Tab to the text, then <kbd>←</kbd> <kbd>→</kbd> move along tokens, \
<kbd>↑</kbd> <kbd>↓</kbd> along lines. Click the curve to find its token.</span></p></footer>
<div id="tip" role="status" hidden></div>
<script type="application/json" id="data">{_payload(inspection)}</script>
<script>{script}</script>
</body>
</html>
"""


def _completion(inspection: Inspection, index: int, trace: CompletionTrace, curve: Axis, bars: Axis) -> str:
    badges = []
    if trace.reward is not None:
        won = " won" if trace.reward > 0 else ""
        badges.append(f'<span class="badge{won}">reward {number(trace.reward, digits=2)}</span>')
    if trace.answer:
        badges.append(f'<span class="badge">answer {escaped(trace.answer)}</span>')
    tokens = "".join(_token(inspection, index, trace, t) for t in range(len(trace.pieces)))
    if trace.pieces:
        body = (
            f'<div class="text" role="group" aria-label="Tokens of completion {index + 1}">{tokens}</div>\n'
            f'<div class="panel">{figure(trace, curve, bars)}</div>'
            + ("" if trace.spans else f'<p class="empty">{escaped(NOTHING_MEASURED.capitalize())}.</p>')
        )
    else:
        body = '<p class="empty">No token was written.</p>'
    return f"""<section class="completion" id="c{index}" aria-label="Completion {index + 1}">
<div class="head"><h2>Completion {index + 1}</h2>{"".join(badges)}</div>
{body}
{_numbers(inspection, trace)}
{_tables(inspection, index, trace)}
</section>"""


def _token(inspection: Inspection, index: int, trace: CompletionTrace, t: int) -> str:
    piece = trace.pieces[t]
    names = [_shade(inspection, trace, t), "t"]
    if piece == "":
        names.append("e")
    elif piece.isspace():
        names.append("b")
    content = escaped(piece).replace("\n", '<i class="nl"></i>\n')
    focus = 0 if t == 0 else -1
    return f'<span class="{" ".join(filter(None, names))}" id="c{index}t{t}" tabindex="{focus}">{content}</span>'


def _shade(inspection: Inspection, trace: CompletionTrace, t: int) -> str:
    if not trace.measured[t]:
        return "off"
    level = inspection.level(trace.information[t])
    return f"{'p' if level > 0 else 'n'}{abs(level)}" if level else ""


def _metadata(inspection: Inspection) -> str:
    rows = "".join(f"<div><dt>{escaped(k)}</dt><dd>{escaped(v)}</dd></div>" for k, v in inspection.metadata.items())
    return f'<dl class="metadata">{rows}</dl>' if rows else ""


def _note(inspection: Inspection) -> str:
    return (
        '<p class="note">Each token is shaded by its <b>information</b>: by how much it changed '
        f"{escaped(_quantity(inspection))}. Positive: after the token more is known about the answer than before it. "
        "Negative (underlined): less is known.</p>"
    )


def _legend(inspection: Inspection) -> str:
    edges = [f"{edge:g}" for edge in inspection.edges]
    steps = [(f"n{5 - i}", "−" + edges[4 - i]) for i in range(5)]
    steps += [("z", edges[0])] + [(f"p{i}", edges[i]) for i in range(1, 5)] + [("p5", "")]
    swatches = "".join(f'<li class="{name}">{f"<span>{label}</span>" if label else ""}</li>' for name, label in steps)
    return (
        f'<div class="legend"><ol aria-label="Color scale, nats">{swatches}</ol>'
        '<span>nats per token</span><span class="off">not measured</span></div>'
    )


def _tabs(inspection: Inspection, curve: Axis) -> str:
    if len(inspection.traces) == 1:
        return ""
    links = "".join(
        f'<a href="#c{index}"><span><b>{index + 1}</b>'
        f"{'' if trace.reward is None else f' · reward {number(trace.reward, digits=2)}'}</span>"
        f"{sparkline(trace, curve)}<span>{len(trace.pieces)} tokens</span></a>"
        for index, trace in enumerate(inspection.traces)
    )
    return f'<nav class="tabs" aria-label="Completions">{links}</nav>'


def _numbers(inspection: Inspection, trace: CompletionTrace) -> str:
    total = summarize(trace, inspection.edges[0])
    quantity = escaped(_quantity(inspection))
    share = "–" if total.near_zero is None else f"{100 * total.near_zero:.0f} %"
    rows = (
        ("tokens", f"{total.tokens} <small>{total.measured} measured</small>"),
        (f"{quantity} at the start", number(total.first_probe)),
        (f"{quantity} at the end", number(total.last_probe)),
        ("information, sum", number(total.information, sign=True)),
        ("per measured token", number(total.per_token, sign=True, digits=4)),
        (f"tokens within ±{inspection.edges[0]:g}", share),
    )
    return f'<dl class="numbers">{"".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in rows)}</dl>'


def _tables(inspection: Inspection, index: int, trace: CompletionTrace) -> str:
    tables = []
    for title, sign in (("Most informative tokens", 1), ("Most negative tokens", -1)):
        rows = "".join(_row(inspection, index, trace, t) for t in strongest(trace, _ROWS, sign))
        if rows:
            head = "<thead><tr><th>token</th><th>in context</th><th>nats</th><th>before → after</th></tr></thead>"
            tables.append(f"<div><h3>{title}</h3><table>{head}<tbody>{rows}</tbody></table></div>")
    return f'<div class="tables">{"".join(tables)}</div>' if tables else ""


def _row(inspection: Inspection, index: int, trace: CompletionTrace, t: int) -> str:
    before = escaped("".join(trace.pieces[max(0, t - _CONTEXT) : t])[-24:]).replace("\n", "↵")
    after = escaped("".join(trace.pieces[t + 1 : t + 1 + _CONTEXT])[:24]).replace("\n", "↵")
    piece = escaped(trace.pieces[t][:48] or "◌").replace("\n", "↵")
    shade = _shade(inspection, trace, t) or "z"
    return (
        f'<tr><td><a href="#c{index}t{t}" data-token="{t}">{t}</a></td>'
        f'<td><code>{before}<mark class="{shade}">{piece}</mark>{after}</code></td>'
        f"<td>{number(trace.information[t], sign=True)}</td>"
        f"<td>{number(trace.probes[t])} → {number(trace.probes[t + 1])}</td></tr>"
    )


def _payload(inspection: Inspection) -> str:
    """The numbers for the script; `<`, `>` and `&` are escaped, so that no text can end the element."""
    completions = [
        {
            "s": [round(s, 6) for s in trace.information],
            "v": [round(v, 6) for v in trace.probes],
            "m": [int(measured) for measured in trace.measured],
            "h": None if trace.policy_entropy is None else [round(h, 6) for h in trace.policy_entropy],
        }
        for trace in inspection.traces
    ]
    label = printable(_quantity(inspection))
    plain = json.dumps({"label": label, "completions": completions}, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _quantity(inspection: Inspection) -> str:
    return inspection.traces[0].probe_label.removesuffix(", nats")


def _package_text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
